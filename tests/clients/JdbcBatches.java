// pgjdbc: batches and CopyManager over three stores, and in transactions over two of them; prints each check that has passed.

import java.io.StringReader;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Arrays;
import java.util.Objects;
import java.util.Properties;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyIn;
import org.postgresql.copy.CopyManager;

public class JdbcBatches {
    static final int ROWS = 200;
    static final String[] STORES = {"shop", "crm", "field"};
    static Connection connection;

    interface Check {
        void run(String store) throws Exception;
    }

    interface Step {
        void run() throws Exception;
    }

    public static void main(String[] arguments) throws Exception {
        // With the second one, the driver puts the rows of a batch together into INSERTs of several rows.
        for (String rewrite : new String[] {"false", "true"}) {
            connection = connect(rewrite);
            String suffix = rewrite.equals("true") ? "_rewritten" : "";
            check("batches" + suffix, JdbcBatches::batches);
            check("failing" + suffix, JdbcBatches::failing);
            check("copied" + suffix, JdbcBatches::copied);
            ofTwoStores("shop", "crm", "two-phase: shop, crm");
            ofTwoStores("shop", "field", "last resource: shop; last: field");
            ofTwoStores("crm", "field", "last resource: crm; last: field");
            System.out.println("of_two_stores" + suffix);
            connection.close();
        }
    }

    static Connection connect(String rewrite) throws SQLException {
        Properties login = new Properties();
        login.setProperty("user", System.getenv("TRIBUTARY_USER"));
        login.setProperty("password", System.getenv("TRIBUTARY_PASSWORD"));
        login.setProperty("sslmode", "verify-full");
        login.setProperty("sslrootcert", System.getenv("TRIBUTARY_CA"));
        login.setProperty("reWriteBatchedInserts", rewrite);
        String place = System.getenv("TRIBUTARY_HOST") + ":" + System.getenv("TRIBUTARY_PORT");
        return DriverManager.getConnection("jdbc:postgresql://" + place + "/" + System.getenv("TRIBUTARY_DATABASE"), login);
    }

    static void check(String name, Check check) throws Exception {
        for (String store : STORES) {
            empty();
            check.run(store);
        }
        System.out.println(name);
    }

    static void same(Object found, Object expected, String what) {
        if (!Objects.deepEquals(found, expected)) {
            throw new AssertionError(what + ": " + found + " is not " + expected);
        }
    }

    static void fails(String state, Step step) throws Exception {
        try {
            step.run();
        } catch (SQLException error) {
            same(error.getSQLState(), state, error.getMessage());
            return;
        }
        throw new AssertionError("nothing failed with " + state);
    }

    static void execute(String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute(sql);
        }
    }

    static String answer(String sql) throws SQLException {
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
            rows.next();
            return rows.getString(1);
        }
    }

    static void empty() throws SQLException {
        for (String store : STORES) {
            execute("DELETE FROM " + store + ".parts");
        }
    }

    // Count and sum.
    static String told(String store) throws SQLException {
        return answer("SELECT count(*) || '/' || coalesce(sum(amount), 0) FROM " + store + ".parts");
    }

    static int[] insert(String store, int first, int count, int twice) throws SQLException {
        String sql = "INSERT INTO " + store + ".parts (_id, code, amount) VALUES (?, ?, ?)";
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int n = first; n < first + count; n++) {
                statement.setLong(1, n);
                statement.setString(2, "code " + (n == twice ? n - 1 : n));
                statement.setLong(3, n);
                statement.addBatch();
            }
            return statement.executeBatch();
        }
    }

    static void batches(String store) throws Exception {
        int[] counts = insert(store, 0, ROWS, -1);
        same(counts.length, ROWS, "counts of a batch");
        same(Arrays.stream(counts).allMatch(count -> count == 1 || count == Statement.SUCCESS_NO_INFO), true, "each is one row");
        try (PreparedStatement statement = connection.prepareStatement("UPDATE " + store + ".parts SET amount = amount + ? WHERE _id = ?")) {
            for (int n = 0; n < ROWS + 10; n += 2) {
                statement.setLong(1, 1000);
                statement.setLong(2, n);
                statement.addBatch();
            }
            same(Arrays.stream(statement.executeBatch()).sum(), ROWS / 2, "changed");
        }
        try (Statement statement = connection.createStatement()) {
            statement.addBatch("DELETE FROM " + store + ".parts WHERE _id < 10");
            statement.addBatch("UPDATE " + store + ".parts SET code = 'code x' WHERE _id = 10");
            statement.addBatch("INSERT INTO " + store + ".parts (_id, code) VALUES (500, 'late')");
            same(statement.executeBatch(), new int[] {10, 1, 1}, "a batch of texts");
        }
        same(told(store), "191/" + (19900 - 45 + 95 * 1000), "left");
    }

    static void failing(String store) throws Exception {
        connection.setAutoCommit(false);
        fails("23505", () -> insert(store, 0, ROWS, 150));
        fails("25P02", () -> told(store));
        connection.rollback();
        connection.setAutoCommit(true);
        same(told(store), "0/0", "nothing of the batch is left");
    }

    static String lines(int first, int count) {
        StringBuilder text = new StringBuilder();
        for (int n = first; n < first + count; n++) {
            text.append(n).append('\t').append("code ").append(n).append('\t').append(n).append('\n');
        }
        return text.toString();
    }

    static void copied(String store) throws Exception {
        CopyManager manager = connection.unwrap(PGConnection.class).getCopyAPI();
        String copy = "COPY " + store + ".parts (_id, code, amount) FROM STDIN";
        same(manager.copyIn(copy, new StringReader(lines(0, ROWS))), (long) ROWS, "copied");
        String csv = "id,code,amount\n300,\"a, b\",\n";
        same(manager.copyIn(copy + " (FORMAT csv, HEADER)", new StringReader(csv)), 1L, "copied as csv");
        CopyIn pieces = manager.copyIn(copy);
        byte[] bytes = lines(400, 3).getBytes(StandardCharsets.UTF_8);
        for (int n = 0; n < bytes.length; n++) {
            pieces.writeToCopy(bytes, n, 1);
        }
        same(pieces.endCopy(), 3L, "copied byte by byte");
        CopyIn given = manager.copyIn(copy);
        given.writeToCopy(bytes, 0, bytes.length);
        given.cancelCopy();
        fails("23505", () -> manager.copyIn(copy, new StringReader(lines(600, 5) + lines(0, 1))));
        fails("22P02", () -> manager.copyIn(copy, new StringReader("700\tcode 700\tx\n")));
        same(told(store), (ROWS + 4) + "/" + (19900 + 400 + 401 + 402), "left");
    }

    static void ofTwoStores(String first, String second, String promised) throws Exception {
        empty();
        CopyManager manager = connection.unwrap(PGConnection.class).getCopyAPI();
        connection.setAutoCommit(false);
        insert(first, 0, ROWS, -1);
        insert(second, 1000, ROWS, -1);
        manager.copyIn("COPY " + second + ".parts (_id, code, amount) FROM STDIN", new StringReader(lines(1, 1)));
        connection.commit();
        same(answer("SHOW tributary.last_commit"), promised, "promised");
        connection.commit();
        execute("DELETE FROM " + first + ".parts WHERE _id < 50");
        fails("23505", () -> insert(second, 2000, 10, 2005));
        connection.rollback();
        connection.setAutoCommit(true);
        same(answer("SELECT count(*) FROM " + first + ".parts"), "200", "the first store is as before");
        same(answer("SELECT count(*) FROM " + second + ".parts"), "201", "the second store is as before");
    }
}

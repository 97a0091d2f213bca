// pgjdbc as a writer: batches, generated keys, savepoints; every check runs on both stores and prints its name when it has passed.

import java.math.BigDecimal;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Types;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Objects;
import java.util.Properties;
import java.util.Set;
import java.util.UUID;
import org.postgresql.util.PSQLException;

public class JdbcWrites {
    static final int ROWS = 500;
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
            check("typed_values" + suffix, JdbcWrites::typedValues);
            check("generated_keys" + suffix, JdbcWrites::generatedKeys);
            check("batches" + suffix, JdbcWrites::batches);
            check("conflicts" + suffix, JdbcWrites::conflicts);
            check("violations" + suffix, JdbcWrites::violations);
            check("rollback" + suffix, JdbcWrites::rollback);
            check("savepoints" + suffix, JdbcWrites::savepoints);
            check("failing_batches" + suffix, JdbcWrites::failingBatches);
            check("definitions" + suffix, JdbcWrites::definitions);
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
        check.run("shop");
        check.run("notes");
        System.out.println(name);
    }

    static void same(Object found, Object expected, String what) {
        if (!Objects.deepEquals(found, expected)) {
            throw new AssertionError(what + ": " + found + " is not " + expected);
        }
    }

    static PSQLException fails(String state, Step step) throws Exception {
        try {
            step.run();
        } catch (SQLException error) {
            same(error.getSQLState(), state, error.getMessage());
            SQLException first = error.getNextException() == null ? error : error.getNextException();
            return first instanceof PSQLException ? (PSQLException) first : (PSQLException) error;
        }
        throw new AssertionError("nothing failed with " + state);
    }

    static int update(String sql, Object... values) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int i = 0; i < values.length; i++) {
                statement.setObject(i + 1, values[i]);
            }
            return statement.executeUpdate();
        }
    }

    // Leaves these codes in the store's table.
    static void fill(String store, String... codes) throws SQLException {
        update("DELETE FROM " + store + ".bins");
        update("DELETE FROM " + store + ".parts");
        for (String code : codes) {
            same(update("INSERT INTO " + store + ".parts (code) VALUES (?)", code), 1, "insert");
        }
    }

    static List<String> contents(String store) throws SQLException {
        List<String> found = new ArrayList<>();
        try (Statement statement = connection.createStatement();
             ResultSet rows = statement.executeQuery("SELECT code, amount FROM " + store + ".parts ORDER BY code")) {
            while (rows.next()) {
                found.add(rows.getString(1) + "=" + rows.getLong(2));
            }
        }
        return found;
    }

    // From its sixth turn on the driver sends and reads the types it knows in binary.
    static void typedValues(String store) throws SQLException {
        boolean rich = store.equals("shop");
        Object[] kept = {Long.MIN_VALUE, true, -0.1, "naïve 漢字 🦀 '\"\\", LocalDate.of(2024, 2, 29), LocalDateTime.of(1999, 12, 31, 23, 59, 59)};
        String names = "id, big, yes, whole, words, day, local, bytes" + (rich ? ", small, exact, at, key, numbers, tags" : "");
        String marks = "?, ?, ?, ?, ?, ?, ?, ?" + (rich ? ", ?, ?, ?, ?, ?, ?" : "");
        OffsetDateTime moment = OffsetDateTime.parse("2024-02-29T10:34:56.789012Z");
        UUID key = UUID.fromString("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
        update("DELETE FROM " + store + ".kinds");
        String insert = "INSERT INTO " + store + ".kinds (" + names + ") VALUES (" + marks + ")";
        try (PreparedStatement statement = connection.prepareStatement(insert)) {
            for (int turn = 0; turn < 8; turn++) {
                statement.setLong(1, turn);
                for (int i = 0; i < kept.length; i++) {
                    statement.setObject(i + 2, kept[i]);
                }
                statement.setBytes(8, new byte[] {0, -1, 16});
                if (rich) {
                    statement.setShort(9, (short) -32768);
                    statement.setBigDecimal(10, new BigDecimal("123456789012345.67890"));
                    statement.setObject(11, moment);
                    statement.setObject(12, key);
                    statement.setArray(13, connection.createArrayOf("int4", new Integer[] {1, null, 3}));
                    statement.setArray(14, connection.createArrayOf("text", new String[] {"a b", "c\"d", null, ""}));
                }
                same(statement.executeUpdate(), 1, "insert");
            }
        }
        try (Statement statement = connection.createStatement();
             ResultSet rows = statement.executeQuery("SELECT " + names + " FROM " + store + ".kinds ORDER BY id")) {
            for (int turn = 0; turn < 8; turn++) {
                same(rows.next(), true, "row " + turn);
                same(rows.getLong(1), (long) turn, "id");
                same(rows.getLong("big"), kept[0], "big");
                same(rows.getBoolean("yes"), kept[1], "yes");
                same(rows.getDouble("whole"), kept[2], "whole");
                same(rows.getString("words"), kept[3], "words");
                same(rows.getObject("day", LocalDate.class), kept[4], "day");
                same(rows.getObject("local", LocalDateTime.class), kept[5], "local");
                same(rows.getBytes("bytes"), new byte[] {0, -1, 16}, "bytes");
                if (rich) {
                    same(rows.getShort("small"), (short) -32768, "small");
                    same(rows.getBigDecimal("exact"), new BigDecimal("123456789012345.67890"), "exact");
                    same(rows.getObject("at", OffsetDateTime.class), moment, "at");
                    same(rows.getObject("key"), key, "key");
                    same(rows.getArray("numbers").getArray(), new Integer[] {1, null, 3}, "numbers");
                    same(rows.getArray("tags").getArray(), new String[] {"a b", "c\"d", null, ""}, "tags");
                }
            }
        }
        try (PreparedStatement statement = connection.prepareStatement("UPDATE " + store + ".kinds SET big = ?, words = ? WHERE id < ?")) {
            for (int turn = 1; turn <= 8; turn++) {
                statement.setNull(1, Types.BIGINT);
                statement.setNull(2, Types.VARCHAR);
                statement.setLong(3, turn);
                same(statement.executeUpdate(), turn, "NULLs");
            }
        }
    }

    static void generatedKeys(String store) throws SQLException {
        fill(store);
        Set<Long> keys = new HashSet<>();
        String insert = "INSERT INTO " + store + ".parts (code, label) VALUES (?, ?)";
        try (PreparedStatement statement = connection.prepareStatement(insert, Statement.RETURN_GENERATED_KEYS)) {
            for (int turn = 0; turn < 8; turn++) {
                statement.setString(1, "code " + turn);
                statement.setNull(2, Types.VARCHAR);
                same(statement.executeUpdate(), 1, "insert");
                try (ResultSet rows = statement.getGeneratedKeys()) {
                    same(rows.next(), true, "a key");
                    keys.add(rows.getLong("id"));
                    same(rows.getLong("amount"), 1L, "the owner's default");
                    same(rows.next(), false, "one key");
                }
            }
        }
        try (PreparedStatement statement = connection.prepareStatement(insert, new String[] {"id", "code"})) {
            for (int turn = 8; turn < 20; turn++) {
                statement.setString(1, "code " + turn);
                statement.setString(2, "batch");
                statement.addBatch();
            }
            same(statement.executeBatch().length, 12, "counts");
            try (ResultSet rows = statement.getGeneratedKeys()) {
                for (int turn = 8; turn < 20; turn++) {
                    same(rows.next(), true, "a key");
                    keys.add(rows.getLong(1));
                    same(rows.getString("code"), "code " + turn, "in the order of the batch");
                }
            }
        }
        same(keys.size(), 20, "keys differ");
        try (PreparedStatement statement = connection.prepareStatement("UPDATE " + store + ".parts SET amount = amount + ? WHERE label = ? RETURNING amount")) {
            statement.setInt(1, 41);
            statement.setString(2, "batch");
            int seen = 0;
            try (ResultSet rows = statement.executeQuery()) {
                while (rows.next()) {
                    same(rows.getLong(1), 42L, "updated");
                    seen++;
                }
            }
            same(seen, 12, "rows");
        }
        same(update("DELETE FROM " + store + ".parts WHERE amount = ?", 42), 12, "delete");
        same(update("DELETE FROM " + store + ".parts WHERE amount = ?", 42), 0, "nothing to delete");
    }

    static void batches(String store) throws SQLException {
        for (boolean automatic : new boolean[] {true, false}) {
            fill(store);
            connection.setAutoCommit(automatic);
            try (PreparedStatement statement = connection.prepareStatement("INSERT INTO " + store + ".parts (code, amount) VALUES (?, ?)")) {
                for (int n = 0; n < ROWS; n++) {
                    statement.setString(1, String.format("code %03d", n));
                    statement.setLong(2, n);
                    statement.addBatch();
                }
                int[] counts = statement.executeBatch();
                same(counts.length, ROWS, "counts");
                same(Arrays.stream(counts).allMatch(count -> count == 1 || count == Statement.SUCCESS_NO_INFO), true, "each inserted");
            }
            try (PreparedStatement statement = connection.prepareStatement("UPDATE " + store + ".parts SET amount = amount - ? WHERE code < ?")) {
                int[] expected = new int[50];
                for (int n = 0; n < 50; n++) {
                    statement.setInt(1, 0);
                    statement.setString(2, String.format("code %03d", n));
                    statement.addBatch();
                    expected[n] = n;
                }
                same(statement.executeBatch(), expected, "rows of each update");
            }
            try (Statement statement = connection.createStatement()) {
                statement.addBatch("DELETE FROM " + store + ".parts WHERE amount >= 10");
                statement.addBatch("UPDATE " + store + ".parts SET label = 'left'");
                statement.addBatch("INSERT INTO " + store + ".parts (code) VALUES ('z'), ('y')");
                same(statement.executeBatch(), new int[] {ROWS - 10, 10, 2}, "different statements");
            }
            same(contents(store).size(), 12, "own reads");
            if (!automatic) {
                connection.commit();
                connection.setAutoCommit(true);
            }
            same(contents(store).size(), 12, "committed");
        }
    }

    static void conflicts(String store) throws SQLException {
        fill(store, "a");
        String insert = "INSERT INTO " + store + ".parts (code, amount) VALUES (?, ?) ";
        same(update(insert + "ON CONFLICT DO NOTHING", "a", 5), 0, "do nothing");
        same(update(insert + "ON CONFLICT (code) DO UPDATE SET amount = EXCLUDED.amount", "a", 5), 1, "do update");
        try (PreparedStatement statement = connection.prepareStatement(insert + "ON CONFLICT (code) DO UPDATE SET amount = EXCLUDED.amount")) {
            for (int n = 0; n < 100; n++) {
                statement.setString(1, "code " + n);
                statement.setInt(2, n);
                statement.addBatch();
            }
            same(statement.executeBatch().length, 100, "many");
            statement.setString(1, "code 7");
            statement.setInt(2, 700);
            same(statement.executeUpdate(), 1, "again");
        }
        List<String> found = contents(store);
        same(found.size(), 101, "rows");
        same(found.get(0), "a=5", "updated");
        same(found.contains("code 7=700"), true, "updated after a batch");
    }

    static void violations(String store) throws Exception {
        fill(store, "a");
        PSQLException told = fails("23505", () -> update("INSERT INTO " + store + ".parts (code) VALUES (?)", "a"));
        same(told.getServerErrorMessage().getConstraint(), "parts_code_key", "constraint");
        same(told.getServerErrorMessage().getTable(), "parts", "table");
        told = fails("23502", () -> update("UPDATE " + store + ".parts SET code = NULL"));
        same(told.getServerErrorMessage().getColumn(), "code", "column");
        told = fails("23514", () -> update("UPDATE " + store + ".parts SET amount = ?", -1));
        same(told.getServerErrorMessage().getConstraint(), "parts_amount_check", "constraint");
        fails("23503", () -> update("INSERT INTO " + store + ".bins (part) VALUES (?)", -1L));
        fails("42804", () -> update("UPDATE " + store + ".parts SET amount = ?", true));
        connection.setReadOnly(true);
        connection.setAutoCommit(false);
        fails("25006", () -> update("DELETE FROM " + store + ".parts"));
        connection.rollback();
        connection.setAutoCommit(true);
        connection.setReadOnly(false);
        same(contents(store), Arrays.asList("a=1"), "nothing has changed");
    }

    static void rollback(String store) throws Exception {
        fill(store, "a");
        connection.setAutoCommit(false);
        update("INSERT INTO " + store + ".parts (code, amount) VALUES (?, ?)", "b", 2);
        update("UPDATE " + store + ".parts SET amount = amount * ?", 10);
        same(contents(store), Arrays.asList("a=10", "b=20"), "own writes");
        connection.rollback();
        same(contents(store), Arrays.asList("a=1"), "after a rollback");
        update("DELETE FROM " + store + ".parts");
        fails("23502", () -> update("INSERT INTO " + store + ".parts (code) VALUES (NULL)"));
        fails("25P02", () -> update("INSERT INTO " + store + ".parts (code) VALUES ('c')"));
        connection.rollback();
        update("INSERT INTO " + store + ".parts (code) VALUES ('d')");
        connection.commit();
        connection.setAutoCommit(true);
        same(contents(store), Arrays.asList("a=1", "d=1"), "after a commit");
    }

    static void savepoints(String store) throws Exception {
        fill(store, "a");
        connection.setAutoCommit(false);
        update("INSERT INTO " + store + ".parts (code) VALUES ('b')");
        Savepoint unnamed = connection.setSavepoint();
        update("DELETE FROM " + store + ".parts WHERE code = 'b'");
        fails("23505", () -> update("INSERT INTO " + store + ".parts (code) VALUES ('a')"));
        connection.rollback(unnamed);
        same(contents(store), Arrays.asList("a=1", "b=1"), "after a failed savepoint");
        Savepoint named = connection.setSavepoint("A name");
        update("UPDATE " + store + ".parts SET amount = 5");
        connection.rollback(named);
        update("INSERT INTO " + store + ".parts (code) VALUES ('c')");
        connection.releaseSavepoint(named);
        connection.commit();
        connection.setAutoCommit(true);
        same(contents(store), Arrays.asList("a=1", "b=1", "c=1"), "committed");
    }

    static void batch(String store) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement("INSERT INTO " + store + ".parts (code) VALUES (?)")) {
            for (int n = 0; n < ROWS; n++) {
                statement.setString(1, "code " + (n == 300 ? 299 : n));
                statement.addBatch();
            }
            statement.executeBatch();
        }
    }

    static void failingBatches(String store) throws Exception {
        fill(store, "a");
        connection.setAutoCommit(false);
        try {
            batch(store);
            throw new AssertionError("a batch with a duplicate did not fail");
        } catch (BatchUpdateException error) {
            same(error.getSQLState(), "23505", error.getMessage());
            same(Arrays.stream(error.getUpdateCounts()).anyMatch(count -> count == Statement.EXECUTE_FAILED), true, "counts");
        }
        fails("25P02", () -> contents(store));
        connection.rollback();
        same(contents(store), Arrays.asList("a=1"), "after a rollback");
        update("INSERT INTO " + store + ".parts (code) VALUES ('before')");
        Savepoint savepoint = connection.setSavepoint();
        fails("23505", () -> batch(store));
        connection.rollback(savepoint);
        update("INSERT INTO " + store + ".parts (code) VALUES ('behind')");
        connection.commit();
        connection.setAutoCommit(true);
        same(contents(store), Arrays.asList("a=1", "before=1", "behind=1"), "a batch in a savepoint");
    }

    static void definitions(String store) throws Exception {
        connection.setAutoCommit(false);
        try (Statement statement = connection.createStatement()) {
            statement.execute("CREATE TABLE " + store + ".boxes (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, name varchar(9))");
            same(update("INSERT INTO " + store + ".boxes (name) VALUES (?)", "first"), 1, "a row");
            connection.rollback();
            fails("42P01", () -> update("INSERT INTO " + store + ".boxes (name) VALUES ('x')"));
            connection.rollback();
            // The same texts again, over a table that is another one.
            statement.addBatch("CREATE TABLE " + store + ".boxes (id bigint PRIMARY KEY, name text)");
            statement.addBatch("CREATE INDEX box_names ON " + store + ".boxes (name)");
            statement.executeBatch();
            same(update("INSERT INTO " + store + ".boxes (id, name) VALUES (1, ?)", "kept"), 1, "a row");
            connection.commit();
            try (ResultSet tables = connection.getMetaData().getTables(null, store, "boxes", null)) {
                same(tables.next(), true, "the table is listed");
            }
            statement.execute("DROP TABLE " + store + ".boxes");
            connection.rollback();
            same(update("UPDATE " + store + ".boxes SET name = ?", "still"), 1, "the row is there");
            connection.commit();
        }
        connection.setAutoCommit(true);
        try (Statement statement = connection.createStatement()) {
            statement.execute("DROP TABLE " + store + ".boxes");
        }
    }
}

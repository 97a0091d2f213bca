// pgjdbc as a listener: what comes while the connection idles, and not inside of a transaction.

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.Statement;
import java.util.Properties;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;

public class JdbcListens {
    static Connection open() throws Exception {
        var login = new Properties();
        login.setProperty("user", System.getenv("TRIBUTARY_USER"));
        login.setProperty("password", System.getenv("TRIBUTARY_PASSWORD"));
        login.setProperty("sslmode", "verify-full");
        login.setProperty("sslrootcert", System.getenv("TRIBUTARY_CA"));
        var place = System.getenv("TRIBUTARY_HOST") + ":" + System.getenv("TRIBUTARY_PORT");
        return DriverManager.getConnection("jdbc:postgresql://" + place + "/" + System.getenv("TRIBUTARY_DATABASE"), login);
    }

    static void same(Object found, Object expected, String what) {
        if (!expected.equals(found)) {
            throw new AssertionError(what + ": " + found + " is not " + expected);
        }
    }

    static void run(Connection connection, String sql) throws Exception {
        try (Statement statement = connection.createStatement()) {
            statement.execute(sql);
        }
    }

    /** Waits in the socket alone: nothing is asked of the server. */
    static PGNotification next(Connection connection) throws Exception {
        PGNotification[] told = connection.unwrap(PGConnection.class).getNotifications(10_000);
        same(told == null ? 0 : told.length, 1, "notifications");
        return told[0];
    }

    static void none(Connection connection) throws Exception {
        PGNotification[] told = connection.unwrap(PGConnection.class).getNotifications(200);
        same(told == null ? 0 : told.length, 0, "notifications");
    }

    public static void main(String[] arguments) throws Exception {
        try (Connection listener = open(); Connection other = open()) {
            run(listener, "LISTEN news");
            run(other, "NOTIFY news, 'it''s on'");
            var told = next(listener);
            same(told.getName() + " " + told.getParameter(), "news it's on", "a notification");
            same(told.getPID(), other.unwrap(PGConnection.class).getBackendPID(), "who tells");
            System.out.println("idle");

            listener.setAutoCommit(false);
            run(listener, "SELECT 1");
            run(other, "NOTIFY news, 'later'");
            none(listener);
            listener.commit();
            same(next(listener).getParameter(), "later", "one behind a transaction");
            listener.setAutoCommit(true);
            System.out.println("transactions");

            run(listener, "LISTEN \"file.orders\"");
            run(other, "INSERT INTO file.orders VALUES (7, 'x')");
            told = next(listener);
            same(told.getName(), "file.orders", "the channel of a change");
            same(told.getParameter().replace(" ", "").contains("\"key\":{\"id\":7}"), true, told.getParameter());
            System.out.println("changes");

            run(listener, "UNLISTEN *");
            run(other, "NOTIFY news, 'unheard'");
            try (Statement statement = listener.createStatement();
                    ResultSet rows = statement.executeQuery("SELECT count(*) FROM pg_listening_channels()")) {
                rows.next();
                same(rows.getInt(1), 0, "channels");
            }
            none(listener);
            System.out.println("left");
        }
    }
}

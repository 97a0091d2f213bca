// pgjdbc: server-side prepared statements that turn binary, fetchSize, DatabaseMetaData, cancel.

import java.math.BigDecimal;
import java.sql.Array;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Types;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Properties;
import java.util.UUID;

public class JdbcClient {
    static final UUID KEY = UUID.fromString("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
    static final OffsetDateTime MOMENT = OffsetDateTime.parse("2024-02-29T10:34:56.789012Z");
    static Connection connection;

    interface Check {
        void run() throws Exception;
    }

    public static void main(String[] arguments) throws Exception {
        connection = connect(System.getenv("TRIBUTARY_PASSWORD"));
        check("parameters", JdbcClient::parameters);
        check("stored_values", JdbcClient::storedValues);
        check("prepared", JdbcClient::prepared);
        check("streaming", JdbcClient::streaming);
        check("typed_errors", JdbcClient::typedErrors);
        check("transactions", JdbcClient::transactions);
        check("metadata", JdbcClient::metadata);
        check("metadata_of_keys_and_types", JdbcClient::keysAndTypes);
        check("cancel", JdbcClient::cancel);
        connection.close();
        check("wrong_password", () -> fails("28P01", () -> connect("wrong")));
    }

    static Connection connect(String password) throws SQLException {
        Properties login = new Properties();
        login.setProperty("user", System.getenv("TRIBUTARY_USER"));
        login.setProperty("password", password);
        login.setProperty("sslmode", "verify-full");
        login.setProperty("sslrootcert", System.getenv("TRIBUTARY_CA"));
        String place = System.getenv("TRIBUTARY_HOST") + ":" + System.getenv("TRIBUTARY_PORT");
        return DriverManager.getConnection("jdbc:postgresql://" + place + "/" + System.getenv("TRIBUTARY_DATABASE"), login);
    }

    static void check(String name, Check check) throws Exception {
        check.run();
        System.out.println(name);
    }

    static void same(Object found, Object expected, String what) {
        if (!Objects.deepEquals(found, expected)) {
            throw new AssertionError(what + ": " + found + " is not " + expected);
        }
    }

    static void fails(String state, Check statement) throws Exception {
        try {
            statement.run();
        } catch (SQLException error) {
            same(error.getSQLState(), state, error.getMessage());
            return;
        }
        throw new AssertionError("nothing failed with " + state);
    }

    static Object one(String query, Object... values) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(query)) {
            for (int i = 0; i < values.length; i++) {
                statement.setObject(i + 1, values[i]);
            }
            try (ResultSet rows = statement.executeQuery()) {
                same(rows.next(), true, query);
                return rows.getObject(1);
            }
        }
    }

    // Each statement runs eight times: from the sixth the driver reads the types it knows in binary.
    static void both(String type, Object value, Class<?> read) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement("SELECT ?::" + type)) {
            for (int turn = 0; turn < 8; turn++) {
                statement.setObject(1, value);
                try (ResultSet rows = statement.executeQuery()) {
                    rows.next();
                    Object found = read == null ? rows.getObject(1) : rows.getObject(1, read);
                    same(found, value, type + " turn " + turn);
                }
            }
        }
    }

    static void parameters() throws SQLException {
        both("int4", Integer.MIN_VALUE, null);
        both("int8", Long.MIN_VALUE, null);
        both("bool", true, null);
        both("numeric", new BigDecimal("123456789012345678901234567890.123456789"), null);
        both("numeric", new BigDecimal("-0.00001"), null);
        both("float8", -0.1, null);
        both("float8", Double.POSITIVE_INFINITY, null);
        both("float4", 1.5f, null);
        both("text", "naïve 漢字 🦀 '\"\\", null);
        both("text", "", null);
        both("date", LocalDate.of(2024, 2, 29), LocalDate.class);
        both("time", LocalTime.of(12, 34, 56, 789000), LocalTime.class);
        both("timestamp", LocalDateTime.of(1999, 12, 31, 23, 59, 59), LocalDateTime.class);
        both("timestamptz", MOMENT, OffsetDateTime.class);
        both("uuid", KEY, null);
        same(one("SELECT ?::int2", 7), 7, "int2");
        try (PreparedStatement statement = connection.prepareStatement("SELECT ?::bytea, ?::int4[], ?::text[], ?::int4, ?::jsonb")) {
            for (int turn = 0; turn < 8; turn++) {
                statement.setBytes(1, new byte[] {0, -1, 16});
                statement.setArray(2, connection.createArrayOf("int4", new Integer[] {1, null, 3}));
                statement.setArray(3, connection.createArrayOf("text", new String[] {"a b", "c\"d", null, ""}));
                statement.setNull(4, Types.INTEGER);
                statement.setString(5, "{\"a\": 1}");
                try (ResultSet rows = statement.executeQuery()) {
                    rows.next();
                    same(rows.getBytes(1), new byte[] {0, -1, 16}, "bytea");
                    same(rows.getArray(2).getArray(), new Integer[] {1, null, 3}, "int4[]");
                    same(rows.getArray(3).getArray(), new String[] {"a b", "c\"d", null, ""}, "text[]");
                    same(rows.getObject(4), null, "null");
                    same(rows.getString(5), "{\"a\": 1}", "jsonb");
                }
            }
        }
    }

    static void storedValues() throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement("SELECT * FROM shop.kinds WHERE id = ?")) {
            for (int turn = 0; turn < 8; turn++) {
                statement.setInt(1, 1);
                try (ResultSet rows = statement.executeQuery()) {
                    rows.next();
                    same(rows.getShort("small"), (short) -32768, "small");
                    same(rows.getLong("big"), Long.MAX_VALUE, "big");
                    same(rows.getBoolean("yes"), true, "yes");
                    same(rows.getBigDecimal("exact"), new BigDecimal("12345.67890"), "exact");
                    same(rows.getBigDecimal("wide"), new BigDecimal("123456789012345678901234567890.123456789"), "wide");
                    same(rows.getDouble("whole"), -0.1, "whole");
                    same(rows.getString("words"), "naïve 漢字 🦀", "words");
                    same(rows.getObject("day", LocalDate.class), LocalDate.of(2024, 2, 29), "day");
                    same(rows.getObject("at", OffsetDateTime.class), MOMENT, "at");
                    same(rows.getObject("key"), KEY, "key");
                    same(rows.getBytes("bytes"), new byte[] {0, -1, 16}, "bytes");
                    same(rows.getArray("numbers").getArray(), new Integer[] {1, null, 3}, "numbers");
                    same(rows.getMetaData().getColumnTypeName(5), "numeric", "type name");
                    same(rows.getMetaData().getPrecision(5), 20, "precision");
                    same(rows.getMetaData().getScale(5), 5, "scale");
                    same(rows.getMetaData().getColumnDisplaySize(10), 10, "varchar(10)");
                }
            }
        }
        same(one("SELECT id FROM shop.kinds WHERE exact = ?", new BigDecimal("12345.6789")), 1, "filter");
        same(one("SELECT id FROM shop.kinds WHERE at = ?", MOMENT), 1, "filter");
    }

    static void prepared() throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement("SELECT square, label FROM notes.numbers WHERE id = ?")) {
            for (int n = 1; n <= 20; n++) {
                statement.setLong(1, n);
                try (ResultSet rows = statement.executeQuery()) {
                    rows.next();
                    same(rows.getLong(1), (long) n * n, "square");
                    same(rows.getString(2), "number " + n, "label");
                    same(rows.next(), false, "one row");
                }
            }
        }
    }

    static void streaming() throws SQLException {
        connection.setAutoCommit(false);
        long seen = 0;
        long total = 0;
        try (PreparedStatement statement = connection.prepareStatement("SELECT id, square FROM notes.numbers ORDER BY id")) {
            statement.setFetchSize(1000);
            try (ResultSet rows = statement.executeQuery()) {
                while (rows.next()) {
                    seen++;
                    total += rows.getLong(2);
                    if (seen == 1500) {
                        same(one("SELECT ?::int4 + 1", 1), 2, "between fetches");
                    }
                }
            }
        }
        same(seen, 200_000L, "rows");
        same(total, 200_000L * 200_001L * 400_001L / 6, "sum");
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(Integer.MAX_VALUE);
            try (ResultSet rows = statement.executeQuery("SELECT 7")) {
                rows.next();
                same(rows.getInt(1), 7, "largest fetch size");
            }
        }
        connection.commit();
        connection.setAutoCommit(true);
    }

    static void typedErrors() throws Exception {
        String[][] cases = {
            {"42P01", "SELECT * FROM nowhere"},
            {"42703", "SELECT nothing FROM shop.orders"},
            {"42601", "SELEC 1"},
            {"22012", "SELECT 1/0"},
            {"22P02", "SELECT 'x'::int4"},
            {"0A000", "CREATE SCHEMA s"},
        };
        for (String[] one : cases) {
            fails(one[0], () -> connection.createStatement().execute(one[1]));
            same(one("SELECT 1"), 1, "usable");
        }
    }

    static void transactions() throws Exception {
        connection.setAutoCommit(false);
        same(one("SELECT count(*) FROM shop.orders"), 2L, "in a transaction");
        fails("22012", () -> one("SELECT 1/0"));
        fails("25P02", () -> one("SELECT 1"));
        connection.rollback();
        connection.setReadOnly(true);
        connection.setTransactionIsolation(Connection.TRANSACTION_REPEATABLE_READ);
        same(one("SHOW transaction_read_only"), "on", "read only");
        same(one("SHOW transaction_isolation"), "repeatable read", "isolation");
        connection.commit();
        connection.setReadOnly(false);
        connection.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
        connection.setAutoCommit(true);
    }

    static List<String> list(ResultSet rows, String... columns) throws SQLException {
        List<String> found = new ArrayList<>();
        while (rows.next()) {
            StringBuilder line = new StringBuilder();
            for (String column : columns) {
                line.append(line.length() == 0 ? "" : "|").append(rows.getString(column));
            }
            found.add(line.toString());
        }
        rows.close();
        return found;
    }

    static void metadata() throws SQLException {
        DatabaseMetaData about = connection.getMetaData();
        same(about.getDatabaseMajorVersion(), 15, "version");
        same(list(about.getSchemas(), "TABLE_SCHEM"),
            Arrays.asList("information_schema", "notes", "pg_catalog", "public", "shop", "tributary"), "schemas");
        same(list(about.getTables(null, "shop", "%", new String[] {"TABLE", "VIEW"}), "TABLE_NAME", "TABLE_TYPE", "REMARKS"),
            Arrays.asList("customers|TABLE|Who buys", "kinds|TABLE|null", "orders|TABLE|null", "refunds|TABLE|null", "totals|VIEW|null"), "tables");
        same(list(about.getColumns(null, "shop", "orders", "%"), "COLUMN_NAME", "TYPE_NAME", "COLUMN_SIZE", "IS_NULLABLE"),
            Arrays.asList("id|int8|19|NO", "customer_id|int4|10|NO", "total|numeric|10|NO", "placed|timestamptz|35|YES"), "columns");
        same(list(about.getPrimaryKeys(null, "shop", "orders"), "COLUMN_NAME", "KEY_SEQ", "PK_NAME"),
            Arrays.asList("id|1|orders_pkey"), "primary key");
        same(list(about.getImportedKeys(null, "shop", "orders"), "PKTABLE_NAME", "PKCOLUMN_NAME", "FKCOLUMN_NAME", "DELETE_RULE"),
            Arrays.asList("customers|id|customer_id|" + DatabaseMetaData.importedKeyNoAction), "foreign key");
        same(list(about.getExportedKeys(null, "shop", "customers"), "FKTABLE_NAME"), Arrays.asList("orders"), "exported key");
        same(list(about.getBestRowIdentifier(null, "shop", "orders", 0, false), "COLUMN_NAME"), Arrays.asList("id"), "best row");
        same(list(about.getCatalogs(), "TABLE_CAT"), Arrays.asList(System.getenv("TRIBUTARY_DATABASE")), "catalogs");
        same(list(about.getFunctions(null, "shop", "%"), "FUNCTION_NAME"), Arrays.asList(), "functions");
    }

    static void keysAndTypes() throws SQLException {
        DatabaseMetaData about = connection.getMetaData();
        same(list(about.getIndexInfo(null, "shop", "orders", false, false), "INDEX_NAME", "NON_UNIQUE", "ORDINAL_POSITION", "COLUMN_NAME", "ASC_OR_DESC"),
            Arrays.asList("orders_pkey|f|1|id|A", "orders_customer_idx|t|1|customer_id|A", "orders_customer_idx|t|2|placed|A"), "indexes");
        same(list(about.getIndexInfo(null, "shop", "customers", true, true), "INDEX_NAME"),
            Arrays.asList("customers_email_key", "customers_pkey"), "unique indexes");
        same(list(about.getImportedKeys(null, "shop", "refunds"), "PKTABLE_NAME", "UPDATE_RULE", "DELETE_RULE"),
            Arrays.asList("orders|" + DatabaseMetaData.importedKeyCascade + "|" + DatabaseMetaData.importedKeySetNull), "actions");
        same(list(about.getCrossReference(null, "shop", "customers", null, "shop", "orders"), "FK_NAME"),
            Arrays.asList("orders_customer_id_fkey"), "cross reference");
        same(list(about.getTypeInfo(), "TYPE_NAME").containsAll(Arrays.asList("int4", "text", "timestamptz", "numeric", "_int4")), true, "types");
        same(list(about.getColumns(null, "shop", "kinds", "numbers"), "TYPE_NAME", "DATA_TYPE", "ORDINAL_POSITION"),
            Arrays.asList("_int4|" + java.sql.Types.ARRAY + "|18"), "array column");
        same(list(about.getVersionColumns(null, "shop", "orders"), "COLUMN_NAME").size(), 1, "version columns");
        for (int isolation : new int[] {Connection.TRANSACTION_SERIALIZABLE, Connection.TRANSACTION_REPEATABLE_READ, Connection.TRANSACTION_READ_COMMITTED}) {
            connection.setTransactionIsolation(isolation);
            same(connection.getTransactionIsolation(), isolation, "isolation");
        }
    }

    static void cancel() throws Exception {
        try (Statement statement = connection.createStatement()) {
            Thread other = new Thread(() -> {
                try {
                    Thread.sleep(500);
                    statement.cancel();
                } catch (Exception error) {
                    throw new IllegalStateException(error);
                }
            });
            other.start();
            fails("57014", () -> statement.executeQuery("SELECT count(*) FROM generate_series(1, 1000000000000) AS s(n) WHERE n % 7 = 8"));
            other.join();
        }
        same(one("SELECT 1"), 1, "usable after a cancel");
    }
}

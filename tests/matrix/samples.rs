//! Columns of every type in every store, with the values that stores and types are known to disagree on.

/// The stores of the stage by their schemas, in the order of the matrix.
pub const STORES: [(&str, &str); 4] = [("shop", "PostgreSQL"), ("crm", "MariaDB"), ("archive", "SQLite"), ("field", "MongoDB")];

/// A column of a store that stands for a type.
pub struct Sample {
    pub ty: &'static str,
    /// For each store its table, the table's key and the column, if it has the type.
    pub columns: [Option<(&'static str, &'static str, &'static str)>; 4],
    pub literals: [&'static str; 2],
}

/// Every type that is tried, the nasty values among it.
pub const SAMPLES: &[Sample] = &[
    Sample {
        ty: "integer",
        columns: [
            Some(("shop.customers", "id", "small")),
            Some(("crm.clients", "id", "tier")),
            Some(("archive.parcels", "id", "order_no")),
            Some(("field.visits", "no", "client")),
        ],
        literals: ["2", "7"],
    },
    Sample {
        ty: "numeric",
        columns: [
            Some(("shop.customers", "id", "balance")),
            Some(("crm.clients", "id", "credit")),
            Some(("archive.parcels", "id", "weight")),
            Some(("field.visits", "no", "amount")),
        ],
        literals: ["-0.01", "12.5"],
    },
    Sample {
        ty: "numeric (38 digits)",
        columns: [None, Some(("crm.stock", "id", "wide")), None, Some(("field.readings", "no", "cost"))],
        literals: ["-0.0001", "12.5"],
    },
    Sample {
        ty: "numeric (unconstrained)",
        columns: [Some(("shop.customers", "id", "wide")), None, None, None],
        literals: ["-0.01", "12.5"],
    },
    Sample {
        ty: "double precision",
        columns: [
            Some(("shop.moves", "id", "factor")),
            Some(("crm.clients", "id", "ratio")),
            Some(("archive.stamps", "id", "weight")),
            Some(("field.readings", "no", "level")),
        ],
        literals: ["0", "2.5"],
    },
    Sample {
        ty: "double precision (zeros of both signs)",
        columns: [Some(("shop.customers", "id", "score")), Some(("crm.signs", "id", "v")), None, None],
        literals: ["0", "2.5"],
    },
    Sample {
        ty: "text",
        columns: [
            Some(("shop.customers", "id", "name")),
            Some(("crm.clients", "id", "name")),
            Some(("archive.parcels", "id", "label")),
            Some(("field.visits", "no", "mood")),
        ],
        literals: ["'Ada'", "'zoe'"],
    },
    Sample {
        ty: "text (compared in its own way by the store)",
        columns: [
            Some(("shop.orders", "id", "status")),
            Some(("crm.clients", "id", "city")),
            Some(("archive.stamps", "id", "label")),
            Some(("field.visits", "no", "mixed")),
        ],
        literals: ["'Oslo'", "'open'"],
    },
    Sample {
        ty: "text (compared by bytes)",
        columns: [Some(("shop.products", "id", "title")), Some(("crm.clients", "id", "code")), None, None],
        literals: ["'A1'", "'b'"],
    },
    Sample {
        ty: "text (whose trailing blanks do not count in the store)",
        columns: [None, Some(("crm.calls", "id", "topic")), Some(("archive.stamps", "id", "code")), None],
        literals: ["'B'", "'zoe'"],
    },
    Sample { ty: "character(n)", columns: [Some(("shop.customers", "id", "code")), None, None, None], literals: ["'ab'", "'zz'"] },
    // The copies of both are of a type with this order of labels, which is not that of their texts.
    Sample {
        ty: "enum",
        columns: [Some(("shop.customers", "id", "level")), Some(("crm.ranks", "id", "level")), None, None],
        literals: ["'gold'", "'silver'"],
    },
    // Its copy is text, which labels are to clients, and as which they are equal; only their order is another.
    Sample {
        ty: "text (an enum in the store)",
        columns: [None, Some(("crm.clients", "id", "kind")), None, None],
        literals: ["'old'", "'new'"],
    },
    Sample {
        ty: "date",
        columns: [
            Some(("shop.customers", "id", "born")),
            Some(("crm.clients", "id", "since")),
            Some(("archive.parcels", "id", "sent")),
            None,
        ],
        literals: ["DATE '1969-12-31'", "DATE '9999-12-31'"],
    },
    Sample {
        ty: "timestamp",
        columns: [
            Some(("shop.orders", "id", "placed")),
            Some(("crm.clients", "id", "seen")),
            Some(("archive.parcels", "id", "noted")),
            None,
        ],
        literals: ["TIMESTAMP '1969-12-31 23:59:59.999999'", "TIMESTAMP '2024-02-29 12:30:45.123456'"],
    },
    Sample {
        ty: "timestamptz",
        columns: [
            Some(("shop.customers", "id", "seen")),
            Some(("crm.calls", "id", "at")),
            None,
            Some(("field.visits", "no", "at")),
        ],
        literals: ["TIMESTAMPTZ '1969-12-31 23:59:59.999999+00'", "TIMESTAMPTZ '2024-02-29 12:30:45.123+00'"],
    },
    Sample {
        ty: "boolean",
        columns: [
            Some(("shop.customers", "id", "active")),
            None,
            Some(("archive.parcels", "id", "ok")),
            Some(("field.visits", "no", "open")),
        ],
        literals: ["true", "false"],
    },
    Sample {
        ty: "uuid",
        columns: [Some(("shop.customers", "id", "token")), None, Some(("archive.parcels", "id", "ref")), None],
        literals: ["UUID 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "UUID 'ffffffff-ffff-ffff-ffff-ffffffffffff'"],
    },
    Sample {
        ty: "bytea",
        columns: [
            Some(("shop.customers", "id", "raw")),
            Some(("crm.clients", "id", "raw")),
            Some(("archive.parcels", "id", "body")),
            None,
        ],
        literals: ["'\\x00ff'::bytea", "'\\x41'::bytea"],
    },
    Sample {
        ty: "text[]",
        columns: [
            Some(("shop.customers", "id", "tags")),
            None,
            Some(("archive.reviews", "id", "tags")),
            Some(("field.visits", "no", "tags")),
        ],
        literals: ["'{a,b}'", "'{NULL,\"x y\"}'"],
    },
    Sample {
        ty: "integer[]",
        columns: [Some(("shop.customers", "id", "marks")), None, None, Some(("field.visits", "no", "scores"))],
        literals: ["'{1,2,3}'", "'{0}'"],
    },
    Sample {
        ty: "text in a document",
        columns: [
            Some(("shop.customers", "id", "(prefs ->> 'a')")),
            None,
            Some(("archive.reviews", "id", "(author ->> 'name')")),
            Some(("field.visits", "no", "(address ->> 'city')")),
        ],
        literals: ["'Ada'", "'Oslo'"],
    },
    Sample {
        ty: "number in a document",
        columns: [
            None,
            None,
            Some(("archive.reviews", "id", "((author ->> 'age')::bigint)")),
            Some(("field.visits", "no", "((address ->> 'zip')::bigint)")),
        ],
        literals: ["36", "150"],
    },
    // The other rows of the table are found by its key.
    Sample {
        ty: "key",
        columns: [
            Some(("shop.customers", "id", "small")),
            Some(("crm.clients", "id", "shop_id")),
            Some(("archive.stamps", "id", "owner")),
            Some(("field.steps", "_id", "after")),
        ],
        literals: ["1", "2"],
    },
];

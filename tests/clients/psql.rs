//! psql: what its descriptions of the catalog look like.

use super::{Stage, text};

#[tokio::test(flavor = "multi_thread")]
async fn psql_describes_the_catalog() {
    let stage = Stage::set().await;
    let cases = [
        ("\\dt", "shop | orders | table | ada"),
        ("\\d", "public | spending | view | ada"),
        ("\\dv", "shop | totals | view | ada"),
        ("\\dn", "notes | ada"),
        ("\\l", "tributary | ada | UTF8 | C | C"),
        ("\\di", "shop | orders_customer_idx | index | ada | orders"),
        ("\\du", "ada | Superuser"),
        ("\\dt+", "shop | customers | table | ada | permanent | heap | | Who buys"),
        ("\\d spending", "name | character varying(40)"),
        ("\\d+ spending", "View definition:"),
        ("\\d notes.reviews", "stars | bigint"),
        ("\\d shop.kinds", "exact | numeric(20,5)"),
        ("\\d shop.orders", "\"orders_pkey\" PRIMARY KEY, btree (id)"),
        ("\\d shop.orders", "FOREIGN KEY (customer_id) REFERENCES customers(id)"),
        ("\\d shop.customers", "name | character varying(40) | | | 'nobody'::character varying"),
        ("\\d shop.customers", "\"customers_email_key\" UNIQUE CONSTRAINT, btree (email)"),
        ("\\d shop.customers", "TABLE \"orders\" CONSTRAINT \"orders_customer_id_fkey\""),
        ("\\d+ shop.customers", "In lower case"),
        ("\\d shop.orders_pkey", "primary key, btree, for table \"shop.orders\""),
        ("\\d shop.orders", "\"orders_total_check\" CHECK ((total >= (0)::numeric))"),
        ("\\d shop.refunds", "REFERENCES orders(id) ON UPDATE CASCADE ON DELETE SET NULL"),
        ("\\d notes.stars", "\"stars_stars_check\" CHECK (stars BETWEEN 1 AND 5)"),
        ("\\d notes.stars", "REFERENCES reviews(id) ON DELETE CASCADE"),
        ("\\d+ shop.orders", "orders_customer_idx"),
        ("\\di+", "shop | orders_pkey | index | ada | orders | permanent | btree"),
        ("\\l+", "tributary | ada | UTF8 | C | C"),
        ("\\dn+", "shop | ada"),
        ("\\du+", "ada | Superuser"),
        ("\\dd", "(0 rows)"),
        ("\\dd orders", "(0 rows)"),
        ("\\dx", "(0 rows)"),
        ("\\dT+", "(0 rows)"),
        ("\\df+", "(0 rows)"),
        ("\\dAf", "(0 rows)"),
        ("\\dFp", "(0 rows)"),
        ("\\dp", "shop | orders | table"),
        ("\\sv spending", "SELECT c.name, o.total"),
        ("\\df", "(0 rows)"),
        ("\\dT", "(0 rows)"),
        ("\\dD", "(0 rows)"),
        ("\\conninfo", "SSL connection"),
    ];
    for (command, expected) in cases {
        let output = stage.run("psql", &["-X", "-c", command], "install the Debian package postgresql-client").await;
        assert!(output.status.success(), "{command}: {}", text(&output.stderr));
        // Widths follow the widest row; only words and their order count.
        let shown: Vec<String> =
            text(&output.stdout).lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert!(shown.iter().any(|line| line.contains(expected)), "{command} lacks {expected}:\n{}", shown.join("\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_is_told_that_a_function_has_no_source() {
    let stage = Stage::set().await;
    let output = stage.run("psql", &["-X", "-c", "\\sf now"], "install the Debian package postgresql-client").await;
    assert_eq!(text(&output.stderr).trim(), "ERROR:  function \"now\" does not exist");
}

"""SQLAlchemy over psycopg: queries, and what its inspector reads from the catalog."""

import os

import sqlalchemy
from sqlalchemy import text

url = sqlalchemy.URL.create(
    "postgresql+psycopg",
    username=os.environ["TRIBUTARY_USER"],
    password=os.environ["TRIBUTARY_PASSWORD"],
    host=os.environ["TRIBUTARY_HOST"],
    port=int(os.environ["TRIBUTARY_PORT"]),
    database=os.environ["TRIBUTARY_DATABASE"],
    query={"sslmode": "verify-full", "sslrootcert": os.environ["TRIBUTARY_CA"]},
)
engine = sqlalchemy.create_engine(url)


def same(found, expected, what):
    if found != expected:
        raise AssertionError(f"{what}: {found!r} is not {expected!r}")


with engine.connect() as connection:
    found = connection.execute(text("SELECT name FROM shop.customers WHERE id = :id"), {"id": 1}).scalar_one()
    same(found, "Ada", "bound parameter")
    same(connection.execute(text("SELECT count(*) FROM public.spending")).scalar_one(), 2, "view")
print("queries")

inspector = sqlalchemy.inspect(engine)
same(sorted(inspector.get_schema_names()), ["information_schema", "notes", "public", "shop", "tributary"], "schemas")
print("schemas")
same(sorted(inspector.get_table_names(schema="shop")), ["customers", "kinds", "orders", "refunds"], "tables")
same(inspector.get_view_names(schema="shop"), ["totals"], "views")
same(inspector.get_view_names(schema="public"), ["spending"], "our views")
print("tables")
columns = {column["name"]: column for column in inspector.get_columns("orders", schema="shop")}
same(list(columns), ["id", "customer_id", "total", "placed"], "columns")
same(str(columns["id"]["type"]), "BIGINT", "type")
same(str(columns["total"]["type"]), "NUMERIC(10, 2)", "type")
same((columns["total"]["nullable"], columns["placed"]["nullable"]), (False, True), "nullable")
tags = inspector.get_columns("kinds", schema="shop")[-1]["type"]
same((str(tags), str(tags.item_type)), ("ARRAY", "TEXT"), "array")
print("columns")
key = inspector.get_pk_constraint("orders", schema="shop")
same((key["name"], key["constrained_columns"]), ("orders_pkey", ["id"]), "primary key")
unique = inspector.get_unique_constraints("customers", schema="shop")
same([(found["name"], found["column_names"]) for found in unique], [("customers_email_key", ["email"])], "unique key")
same(inspector.get_unique_constraints("orders", schema="shop"), [], "no unique key")
print("keys")
foreign = inspector.get_foreign_keys("refunds", schema="shop")[0]
same((foreign["constrained_columns"], foreign["referred_schema"], foreign["referred_table"], foreign["referred_columns"]),
     (["order_id"], "shop", "orders", ["id"]), "foreign key")
same(foreign["options"], {"onupdate": "CASCADE", "ondelete": "SET NULL"}, "actions")
foreign = inspector.get_foreign_keys("stars", schema="notes")[0]
same((foreign["referred_table"], foreign["options"]), ("reviews", {"ondelete": "CASCADE"}), "foreign key of SQLite")
print("foreign_keys")
indexes = {index["name"]: index for index in inspector.get_indexes("orders", schema="shop")}
same(list(indexes), ["orders_customer_idx"], "indexes")
index = indexes["orders_customer_idx"]
same((index["column_names"], index["unique"]), (["customer_id", "placed"], False), "index")
print("indexes")
checks = inspector.get_check_constraints("orders", schema="shop")
same([(check["name"], check["sqltext"]) for check in checks], [("orders_total_check", "total >= (0)::numeric")], "check")
checks = inspector.get_check_constraints("stars", schema="notes")
same([check["sqltext"] for check in checks], ["stars BETWEEN 1 AND 5"], "check of SQLite")
print("checks")
same(inspector.get_table_comment("customers", schema="shop"), {"text": "Who buys"}, "comment")
same(inspector.get_table_comment("orders", schema="shop"), {"text": None}, "no comment")
same(inspector.get_table_options("orders", schema="shop"), {}, "options")
print("comments")
metadata = sqlalchemy.MetaData()
metadata.reflect(engine, schema="shop", views=True)
same(sorted(metadata.tables), ["shop.customers", "shop.kinds", "shop.orders", "shop.refunds", "shop.totals"], "reflection")
joined = metadata.tables["shop.orders"].join(metadata.tables["shop.customers"])
with engine.connect() as connection:
    count = sqlalchemy.select(sqlalchemy.func.count()).select_from(joined)
    same(connection.execute(count).scalar_one(), 2, "a join by the reflected key")
print("reflection")

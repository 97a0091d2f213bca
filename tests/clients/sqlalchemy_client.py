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
same(sorted(inspector.get_table_names(schema="shop")), ["customers", "kinds", "orders"], "tables")
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

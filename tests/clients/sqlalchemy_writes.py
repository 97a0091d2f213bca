"""SQLAlchemy as a writer, its core and its unit of work: every check runs on both stores and prints its name when it has passed."""

import os

import sqlalchemy
from sqlalchemy import BigInteger, ForeignKey, Text, delete, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

ROWS = 500


class Base(DeclarativeBase):
    type_annotation_map = {int: BigInteger, str: Text}


class Part(Base):
    __tablename__ = "parts"
    __table_args__ = {"schema": "store"}
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(unique=True)
    amount: Mapped[int] = mapped_column(server_default=text("1"))
    label: Mapped[str | None]
    bins: Mapped[list["Bin"]] = relationship(back_populates="owner", cascade="all, delete-orphan", order_by="Bin.id")


class Bin(Base):
    __tablename__ = "bins"
    __table_args__ = {"schema": "store"}
    id: Mapped[int] = mapped_column(primary_key=True)
    part: Mapped[int] = mapped_column(ForeignKey("store.parts.id"))
    label: Mapped[str | None]
    owner: Mapped[Part] = relationship(back_populates="bins")


def same(found, expected, what):
    if found != expected:
        raise AssertionError(f"{what}: {found!r} is not {expected!r}")


def refused(state, run):
    try:
        run()
    except IntegrityError as error:
        same(error.orig.sqlstate, state, str(error))
        return error.orig.diag
    raise AssertionError(f"nothing failed with {state}")


def fill(engine, rows):
    """Leaves these rows (code, amount) in the store's table."""
    with engine.begin() as connection:
        connection.execute(delete(Bin))
        connection.execute(delete(Part))
        if rows:
            connection.execute(insert(Part), [{"code": code, "amount": amount} for code, amount in rows])


def contents(engine):
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(select(Part.code, Part.amount).order_by(Part.code))]


def core(engine):
    fill(engine, [("a", 1), ("b", 2)])
    with engine.begin() as connection:
        inserted = connection.execute(insert(Part).values(code="c", label="new"))
        same(type(inserted.inserted_primary_key.id), int, "inserted_primary_key")
        found = connection.execute(update(Part).where(Part.amount < 2).values(amount=Part.amount + 10).returning(Part.code, Part.amount))
        same(sorted(map(tuple, found)), [("a", 11), ("c", 11)], "update returning")
        same(connection.execute(update(Part).values(label=None)).rowcount, 3, "rowcount")
        same(connection.execute(delete(Part).where(Part.code.in_(["b", "x"]))).rowcount, 1, "delete")
    same(contents(engine), [("a", 11), ("c", 11)], "contents")


def batches(engine):
    fill(engine, [])
    with engine.begin() as connection:
        # Without RETURNING an executemany of the driver, with it long lists of VALUES.
        connection.execute(insert(Part), [{"code": f"code {n:03}", "amount": n} for n in range(ROWS)])
        rows = [{"code": f"more {n:03}", "amount": n, "label": None} for n in range(ROWS)]
        returned = connection.execute(insert(Part).returning(Part.id, Part.code, sort_by_parameter_order=True), rows).all()
        same([row.code for row in returned], [row["code"] for row in rows], "in the order of the parameters")
        same(len({row.id for row in returned}), ROWS, "identities differ")
        ids = [row.id for row in returned]
        changes = [{"which": identity, "amount": n} for n, identity in enumerate(ids)]
        by_key = update(Part.__table__).where(Part.id == sqlalchemy.bindparam("which"))
        same(connection.execute(by_key.values(amount=sqlalchemy.bindparam("amount") + 1), changes).rowcount, ROWS, "many updates")
    with engine.connect() as connection:
        same(connection.execute(select(func.count(), func.min(Part.amount)).where(Part.code.like("more%"))).one(), (ROWS, 1), "read")


def upserts(engine):
    fill(engine, [("a", 1)])
    with engine.begin() as connection:
        statement = upsert(Part).values([{"code": "a", "amount": 5}, {"code": "b", "amount": 6}])
        found = connection.execute(statement.on_conflict_do_nothing().returning(Part.code)).scalars().all()
        same(found, ["b"], "do nothing")
        statement = upsert(Part).values([{"code": "a", "amount": 7}, {"code": "c", "amount": 8}])
        statement = statement.on_conflict_do_update(index_elements=[Part.code], set_={"amount": statement.excluded.amount})
        found = connection.execute(statement.returning(Part.code, Part.amount)).all()
        same(sorted(map(tuple, found)), [("a", 7), ("c", 8)], "do update")
        connection.execute(upsert(Part).on_conflict_do_nothing(), [{"code": f"code {n % 5}", "amount": n} for n in range(50)])
    same(contents(engine), [("a", 7), ("b", 6), ("c", 8), *((f"code {n}", n) for n in range(5))], "contents")


def violations(engine):
    fill(engine, [("a", 1)])
    with engine.connect() as connection:
        told = refused("23505", lambda: connection.execute(insert(Part).values(code="a")))
        same((told.constraint_name, told.table_name), ("parts_code_key", "parts"), "unique")
        connection.rollback()
        refused("23502", lambda: connection.execute(insert(Part).values(code=None)))
        connection.rollback()
        refused("23514", lambda: connection.execute(update(Part).values(amount=-1)))
        connection.rollback()
        refused("23503", lambda: connection.execute(insert(Bin).values(part=-1)))
        connection.rollback()
        try:
            connection.execute(insert(Part).values(code="x", amount=text("'many'")))
            raise AssertionError("a text was taken for a number")
        except DataError:
            pass
    same(contents(engine), [("a", 1)], "nothing has changed")


def nested(engine):
    fill(engine, [("a", 1)])
    with engine.connect() as connection, connection.begin():
        connection.execute(insert(Part).values(code="b"))
        savepoint = connection.begin_nested()
        refused("23505", lambda: connection.execute(insert(Part), [{"code": "c"}, {"code": "a"}]))
        savepoint.rollback()
        with connection.begin_nested():
            connection.execute(insert(Part).values(code="d"))
            inner = connection.begin_nested()
            connection.execute(delete(Part))
            inner.rollback()
        same(connection.execute(select(Part.code).order_by(Part.code)).scalars().all(), ["a", "b", "d"], "own reads")
    same([code for code, _ in contents(engine)], ["a", "b", "d"], "committed")


def unit_of_work(engine):
    fill(engine, [])
    with Session(engine) as session:
        parts = [Part(code=f"code {n:03}", label=f"label {n}") for n in range(100)]
        parts[0].bins = [Bin(label="left"), Bin(label="right")]
        parts[1].bins = [Bin(label="lone")]
        session.add_all(parts)
        session.flush()
        same(len({part.id for part in parts}), 100, "identities come back with the flush")
        same(parts[5].amount, 1, "the owner's default is loaded")
        same(session.scalar(select(func.count()).select_from(Bin)), 3, "children follow their parents")
        parts[2].amount = 7
        parts[0].bins.pop()
        session.delete(parts[1])
        for part in parts[10:60]:
            part.label = None
        session.commit()
    with Session(engine) as session:
        first = session.scalars(select(Part).where(Part.code == "code 000")).one()
        same([found.label for found in first.bins], ["left"], "an orphan is gone")
        same(session.scalar(select(func.count()).where(Part.label.is_(None))), 50, "updates")
        same(session.scalars(select(Part.amount).where(Part.code == "code 002")).one(), 7, "update")
        same(session.scalar(select(func.count()).select_from(Bin)), 1, "a cascade")
        same(session.get(Part, first.id) is first, True, "the identity map")
        first.code = "code 003"
        refused("23505", session.flush)
        session.rollback()
        same(first.code, "code 000", "refreshed after a rollback")
        with session.begin_nested():
            session.add(Part(code="kept"))
        try:
            with session.begin_nested():
                session.add(Part(code="kept"))
        except IntegrityError:
            pass
        session.execute(update(Part).where(Part.code == "kept").values(amount=Part.amount + 1))
        session.commit()
        same(session.scalars(select(Part.amount).where(Part.code == "kept")).one(), 2, "after savepoints")
        # A row that is gone under the session is noticed by its count.
        identity = session.scalars(select(Part.id).where(Part.code == "kept")).one()
        session.commit()
        with engine.begin() as other:
            other.execute(delete(Part).where(Part.code == "kept"))
        try:
            session.execute(update(Part), [{"id": identity, "label": "late"}])
            raise AssertionError("an update of no row was taken")
        except sqlalchemy.orm.exc.StaleDataError:
            session.rollback()
    same(len(contents(engine)), 99, "rows")


def failing_batches(engine):
    fill(engine, [("a", 1)])
    rows = [{"code": f"code {n}"} for n in range(ROWS)]
    rows[300] = {"code": "code 299"}

    def batch():
        with engine.begin() as connection:
            connection.execute(insert(Part).values(code="before"))
            connection.execute(insert(Part), rows)

    def flush():
        with Session(engine) as session, session.begin():
            session.add_all(Part(**row) for row in rows)

    for attempt in (batch, flush):
        refused("23505", attempt)
        same(contents(engine), [("a", 1)], attempt.__name__)


def upserts_of_constants(engine):
    fill(engine, [("a", 1)])
    with engine.begin() as connection:
        # The dialect casts what it binds: label = %(param)s::TEXT.
        statement = upsert(Part).values([{"code": "a", "amount": 7}, {"code": "c", "amount": 8}])
        values = {"amount": Part.amount + statement.excluded.amount, "label": "again"}
        statement = statement.on_conflict_do_update(index_elements=[Part.code], set_=values)
        found = connection.execute(statement.returning(Part.code, Part.amount, Part.label)).all()
        same(sorted(map(tuple, found)), [("a", 8, "again"), ("c", 8, None)], "do update")


def row_locks(engine):
    fill(engine, [("a", 1)])
    with Session(engine) as session:
        part = session.scalars(select(Part).where(Part.code == "a").with_for_update()).one()
        part.amount += 1
        session.commit()
    same(contents(engine), [("a", 2)], "contents")


def schemas(engine):
    metadata = sqlalchemy.MetaData()
    boxes = sqlalchemy.Table(
        "boxes", metadata,
        sqlalchemy.Column("id", BigInteger, sqlalchemy.Identity(), primary_key=True),
        sqlalchemy.Column("name", sqlalchemy.String(40), nullable=False, unique=True),
        schema="store",
    )
    lids = sqlalchemy.Table(
        "lids", metadata,
        sqlalchemy.Column("id", BigInteger, sqlalchemy.Identity(), primary_key=True),
        sqlalchemy.Column("box", BigInteger, ForeignKey(boxes.c.id), index=True),
        schema="store",
    )
    with engine.connect() as connection:
        # All of it and rows in one transaction, which is taken back.
        metadata.create_all(connection)
        key = connection.execute(insert(boxes).values(name="first")).inserted_primary_key.id
        connection.execute(insert(lids).values(box=key))
        same(connection.execute(select(func.count()).select_from(lids.join(boxes))).scalar(), 1, "own tables")
        connection.rollback()
        schema = engine.get_execution_options()["schema_translate_map"]["store"]
        same(sqlalchemy.inspect(connection).has_table("boxes", schema=schema), False, "rolled back")
    metadata.create_all(engine)
    # What is there is left alone.
    metadata.create_all(engine)
    with engine.begin() as connection:
        key = connection.execute(insert(boxes).values(name="kept")).inserted_primary_key.id
        connection.execute(insert(lids).values(box=key))
    with engine.connect() as connection:
        same(connection.execute(select(boxes.c.name)).scalars().all(), ["kept"], "rows")
    with engine.connect() as connection:
        metadata.drop_all(connection)
        connection.rollback()
        same(connection.execute(select(func.count()).select_from(lids)).scalar(), 1, "not dropped")
    metadata.drop_all(engine)
    metadata.drop_all(engine)


url = sqlalchemy.URL.create(
    "postgresql+psycopg",
    username=os.environ["TRIBUTARY_USER"],
    password=os.environ["TRIBUTARY_PASSWORD"],
    host=os.environ["TRIBUTARY_HOST"],
    port=int(os.environ["TRIBUTARY_PORT"]),
    database=os.environ["TRIBUTARY_DATABASE"],
    query={"sslmode": "verify-full", "sslrootcert": os.environ["TRIBUTARY_CA"]},
)
server = sqlalchemy.create_engine(url)
for check in (core, batches, upserts, violations, nested, unit_of_work, failing_batches, upserts_of_constants, row_locks,
              schemas):
    for store in ("shop", "notes"):
        check(server.execution_options(schema_translate_map={"store": store}))
    print(check.__name__, flush=True)

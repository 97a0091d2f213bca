"""SQLAlchemy: lists of rows and units of work over three stores, and one unit of work over two; prints each check that has passed."""

import os

import sqlalchemy
from sqlalchemy import BigInteger, Text, bindparam, delete, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

ROWS = 200


class Base(DeclarativeBase):
    type_annotation_map = {int: BigInteger, str: Text}


class OfShop(Base):
    __tablename__ = "parts"
    __table_args__ = {"schema": "shop"}
    id: Mapped[int] = mapped_column("_id", key="id", primary_key=True, autoincrement=False)
    code: Mapped[str]
    amount: Mapped[int | None]


class OfCrm(Base):
    __tablename__ = "parts"
    __table_args__ = {"schema": "crm"}
    id: Mapped[int] = mapped_column("_id", key="id", primary_key=True, autoincrement=False)
    code: Mapped[str]
    amount: Mapped[int | None]


class OfField(Base):
    __tablename__ = "parts"
    __table_args__ = {"schema": "field"}
    id: Mapped[int] = mapped_column("_id", key="id", primary_key=True, autoincrement=False)
    code: Mapped[str]
    amount: Mapped[int | None]


ALL = (OfShop, OfCrm, OfField)


def same(found, expected, what):
    if found != expected:
        raise AssertionError(f"{what}: {found!r} is not {expected!r}")


def rows(count=ROWS):
    return [{"id": n, "code": f"code {n:03}", "amount": n} for n in range(count)]


def count(engine, part):
    with engine.connect() as connection:
        return connection.execute(select(func.count(), func.sum(part.amount)).select_from(part)).one()


def empty(engine):
    for part in ALL:
        with engine.begin() as connection:
            connection.execute(delete(part))


def refused(run):
    try:
        run()
    except IntegrityError as error:
        same(error.orig.sqlstate, "23505", str(error))
    else:
        raise AssertionError("a duplicate did not fail")


def batches(engine, part):
    with engine.begin() as connection:
        connection.execute(insert(part), rows())
        changes = [{"which": n, "more": 1000} for n in range(0, ROWS, 2)]
        by_key = update(part.__table__).where(part.id == bindparam("which"))
        changed = connection.execute(by_key.values(amount=part.amount + bindparam("more")), changes)
        same(changed.rowcount, ROWS // 2, "changed")
        found = connection.execute(insert(part).returning(part.id, sort_by_parameter_order=True), [{"id": 900, "code": "x"}, {"id": 901, "code": "y"}])
        same(found.scalars().all(), [900, 901], "returned")
    same(tuple(count(engine, part)), (ROWS + 2, sum(range(ROWS)) + 100 * 1000), "left")


def unit_of_work(engine, part):
    with Session(engine) as session:
        session.add_all([part(**row) for row in rows()])
        session.commit()
        for one in session.scalars(select(part).where(part.id < 50)):
            one.amount += 1
        for one in session.scalars(select(part).where(part.id >= 150)):
            session.delete(one)
        session.add(part(id=1000, code="late", amount=None))
        session.commit()
    same(tuple(count(engine, part)), (151, sum(range(150)) + 50), "left")

    def again():
        with Session(engine) as session:
            session.get(part, 0).amount = 77
            session.add(part(id=1001, code="late"))
            session.commit()

    refused(again)
    same(tuple(count(engine, part)), (151, sum(range(150)) + 50), "nothing of a unit that failed is left")


def of_two_stores(engine):
    for first, second, promised in (
        (OfShop, OfCrm, "two-phase: shop, crm"),
        (OfShop, OfField, "last resource: shop; last: field"),
        (OfCrm, OfField, "last resource: crm; last: field"),
    ):
        empty(engine)
        with Session(engine) as session:
            session.add_all([first(**row) for row in rows()])
            session.flush()
            session.add_all([second(**row) for row in rows(50)])
            session.commit()
            same(session.scalar(text("SHOW tributary.last_commit")), promised, "promised")

        def spoilt():
            with Session(engine) as session:
                session.get(first, 1).amount = 77
                session.delete(session.get(first, 2))
                session.flush()
                session.add(second(id=500, code="code 001"))
                session.commit()

        refused(spoilt)
        same((tuple(count(engine, first)), count(engine, second)[0]), ((ROWS, sum(range(ROWS))), 50), "in neither")


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
for check in (batches, unit_of_work):
    for table in ALL:
        empty(server)
        check(server, table)
    print(check.__name__, flush=True)
of_two_stores(server)
print("of_two_stores", flush=True)

-- What PostgreSQL does and Tributary does not do, with nothing written.
-- refused by shop, crm, archive, field: WITH that writes
WITH gone AS (DELETE FROM target.things RETURNING _id) SELECT count(*) FROM gone
-- refused by shop, crm, archive, field: WITH that writes
WITH new AS (INSERT INTO target.things (_id) VALUES (99) RETURNING _id) INSERT INTO target.people (_id, email) SELECT _id, 'x' FROM new
-- refused by shop, crm, archive, field: WITH that writes, which the values do not read
WITH gone AS (DELETE FROM target.things RETURNING _id) INSERT INTO target.people (_id, email) VALUES (99, 'x')
-- refused by shop, crm, archive, field: WITH that writes, where there are no values
WITH gone AS (DELETE FROM target.things RETURNING _id) INSERT INTO target.people DEFAULT VALUES
-- refused by shop, crm, archive, field: the table once more in RETURNING
UPDATE target.things SET qty = 1 RETURNING (SELECT count(*) FROM target.things)
SELECT count(*) FROM target.things

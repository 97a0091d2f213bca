-- Values of parameters, whose types are those of their columns.
INSERT INTO target.things (_id, name, qty, price, ratio, ok) VALUES ($1, $2, $3, $4, $5, $6) <- 20 <- twenty <- 5 <- 1.25 <- 0.5 <- true
INSERT INTO target.things (_id, name, qty, price, ratio, ok) VALUES ($1, $2, $3, $4, $5, $6) <- 21 <- \N <- \N <- \N <- \N <- \N
INSERT INTO target.things (_id, name) VALUES ($1, $2), ($3, $4) <- 22 <- a <- 23 <- b
INSERT INTO target.things (_id, name) VALUES ($1, $2 || '!'), ($1 + 1, upper($2)) <- 24 <- x
INSERT INTO target.things (_id, name, qty) VALUES ($1, 'fixed', DEFAULT) <- 26
INSERT INTO target.things (_id, seen) VALUES ($1, $2) <- 27 <- 2024-01-01 12:00:00+02
[shop, crm, archive] INSERT INTO target.things (_id, day, noted, raw, ref) VALUES ($1, $2, $3, $4, $5) <- 28 <- 2024-02-29 <- 2024-02-29 01:02:03.456789 <- \x00ff <- a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11
INSERT INTO target.things (_id, name) VALUES ($1, $2) <- 29 <- it's \' or 1=1 -- "; DROP TABLE things; --
INSERT INTO target.things (_id, name) SELECT _id + $1, name FROM other.sources WHERE item = $2 <- 30 <- 2
INSERT INTO target.things (_id, name) SELECT $1, $2 <- 50 <- selected
INSERT INTO target.things (_id, qty) VALUES ($1, $2::integer) RETURNING _id, qty + $3 <- 51 <- 5 <- 6
UPDATE target.things SET name = $2 WHERE _id = $1 <- 1 <- new
UPDATE target.things SET name = $1, qty = $2, ok = $3 WHERE _id = $4 <- \N <- 7 <- false <- 2
UPDATE target.things SET qty = qty + $1 WHERE _id = $2 <- 10 <- 1
UPDATE target.things SET price = $1 WHERE price = $2 <- 7.25 <- 12.50
UPDATE target.things SET name = 'listed' WHERE _id = ANY ($1) <- {1,2,20}
UPDATE target.things SET name = 'listed' WHERE _id IN ($1, $2) <- 21 <- 22
UPDATE target.things SET qty = s.qty + $1 FROM other.sources s WHERE s.item = things._id AND s.name = $2 <- 1 <- Ada
DELETE FROM target.things WHERE _id = $1 <- 20
DELETE FROM target.things WHERE name = $1 RETURNING _id <- listed
DELETE FROM target.things WHERE _id IN (SELECT item FROM other.sources WHERE qty > $1) <- 15
DELETE FROM target.things WHERE $1::boolean AND _id = $2 <- true <- 23
-- Values that are none.
INSERT INTO target.things (_id, qty) VALUES ($1, $2) <- 60 <- x
INSERT INTO target.things (_id, qty) VALUES ($1, $2) <- 60 <- 99999999999999999999
INSERT INTO target.things (_id, ok) VALUES ($1, $2) <- 60 <- perhaps
INSERT INTO target.things (_id, price) VALUES ($1, $2) <- 61 <- 12.3
[shop, crm] INSERT INTO target.things (_id, code) VALUES ($1, $2) <- 62 <- toolong
UPDATE target.things SET qty = $1 WHERE _id = $2 <- 2.5 <- 4

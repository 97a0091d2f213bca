-- Rows that are there already.
INSERT INTO target.people (_id, email, visits) VALUES (1, 'new@x', 1), (10, 'ten@x', 1) ON CONFLICT DO NOTHING
INSERT INTO target.people (_id, email, visits) VALUES (11, 'ada@x', 1), (12, 'twelve@x', 1) ON CONFLICT DO NOTHING
INSERT INTO target.people (_id, email, visits) VALUES (2, 'two@x', 1), (13, 'thirteen@x', 1) ON CONFLICT (_id) DO NOTHING
INSERT INTO target.people (_id, email, visits) VALUES (14, 'bob@x', 1) ON CONFLICT (email) DO NOTHING
[shop, crm, archive] INSERT INTO target.people (_id, email, visits) VALUES (2, 'two@x', 1) ON CONFLICT ON CONSTRAINT people_pkey DO NOTHING
[shop, crm, archive] INSERT INTO target.people (_id, email, visits) VALUES (2, 'two@x', 1) ON CONFLICT ON CONSTRAINT people_none DO NOTHING
INSERT INTO target.people (_id, email, visits) VALUES (15, 'fifteen@x', 1), (15, 'again@x', 2) ON CONFLICT (_id) DO NOTHING
INSERT INTO target.people (_id, email, visits) VALUES (16, 'same@x', 1), (17, 'same@x', 2) ON CONFLICT DO NOTHING
INSERT INTO target.people (_id, email, visits) VALUES (1, 'one@x', 11) ON CONFLICT (_id) DO UPDATE SET email = excluded.email, visits = excluded.visits
INSERT INTO target.people (_id, email, visits) VALUES (20, 'one@x', 12), (21, 'new one@x', 13) ON CONFLICT (email) DO UPDATE SET visits = excluded.visits, note = 'met'
INSERT INTO target.people (_id, email, visits) VALUES (2, 'b@x', 1), (3, 'c@x', 2), (22, 'd@x', 3) ON CONFLICT (_id) DO UPDATE SET note = NULL, visits = 100
INSERT INTO target.people (_id, email, visits) SELECT item, 'of ' || _id, coalesce(qty, 1) + 10 FROM other.sources WHERE item IS NOT NULL AND _id <> 12 ON CONFLICT (_id) DO UPDATE SET email = excluded.email
INSERT INTO target.people (_id, email, visits) SELECT _id, email || '!', visits FROM target.people ON CONFLICT DO NOTHING
INSERT INTO target.people (_id, email, visits) VALUES ($1, $2, $3) ON CONFLICT (_id) DO UPDATE SET visits = excluded.visits <- 1 <- p@x <- 77
INSERT INTO target.people (_id, email, visits) VALUES (1, 'r@x', 5), (30, 's@x', 6) ON CONFLICT (_id) DO UPDATE SET visits = excluded.visits RETURNING _id, email, visits
INSERT INTO target.people (_id, email, visits) VALUES (1, 'r@x', 5), (31, 't@x', 6) ON CONFLICT (_id) DO NOTHING RETURNING _id, visits
-- The other key, rows that meet twice, keys that are none.
INSERT INTO target.people (_id, email, visits) VALUES (1, 'bob@x', 1) ON CONFLICT (_id) DO UPDATE SET email = 'b@x'
INSERT INTO target.people (_id, email, visits) VALUES (40, 's@x', 1) ON CONFLICT (_id) DO NOTHING
INSERT INTO target.people (_id, email, visits) VALUES (41, 'u@x', 1), (41, 'v@x', 2) ON CONFLICT (_id) DO UPDATE SET visits = excluded.visits
INSERT INTO target.people (_id, email, visits) VALUES (42, 'w@x', 1) ON CONFLICT (visits) DO NOTHING
INSERT INTO target.people (_id, email, visits) VALUES (42, 'w@x', 1) ON CONFLICT (_id, email) DO NOTHING
INSERT INTO target.people (_id, email, visits) VALUES (42, 'w@x', 1) ON CONFLICT (nowhere) DO NOTHING
INSERT INTO target.people (_id, email, visits) VALUES (42, 'w@x', 1) ON CONFLICT DO UPDATE SET visits = 1
INSERT INTO target.people (_id, email, visits) VALUES (42, 'w@x', 1) ON CONFLICT (_id) DO UPDATE SET nowhere = 1
-- A row that meets another is judged like any other.
[shop, crm, archive] INSERT INTO target.people (_id, email, visits) VALUES (1, 'x@x', -1) ON CONFLICT (_id) DO UPDATE SET visits = excluded.visits
[shop, crm, archive] INSERT INTO target.people (_id, email, visits) VALUES (1, 'x@x', -1) ON CONFLICT (_id) DO NOTHING
[shop, crm, archive] INSERT INTO target.people (_id, email, visits) VALUES (1, 'x@x', -1) ON CONFLICT DO NOTHING
[shop, crm, archive] INSERT INTO target.people (_id, email, visits) VALUES (1, 'x@x', -1) ON CONFLICT (_id) DO UPDATE SET note = 'met'
[shop, crm, archive] INSERT INTO target.people (_id, email, visits) VALUES (50, 's@x', -1) ON CONFLICT (email) DO NOTHING
[shop, crm, archive] INSERT INTO target.people (_id, email, visits) VALUES (1, NULL, 1) ON CONFLICT (_id) DO NOTHING
[shop, crm, archive] INSERT INTO target.people (_id, email, visits) VALUES (1, NULL, 1) ON CONFLICT DO NOTHING
[shop, crm, archive] INSERT INTO target.people (_id, email, visits) VALUES (1, 'x@x', NULL) ON CONFLICT (_id) DO UPDATE SET note = 'met'
[shop, crm, archive] INSERT INTO target.people (_id, visits) VALUES (1, 1) ON CONFLICT (_id) DO NOTHING
[shop, crm, archive] INSERT INTO target.people (_id, email, visits) VALUES (1, 'x@x', 1), (2, 'q@x', -1) ON CONFLICT (_id) DO NOTHING
[shop, crm, archive] INSERT INTO target.people (_id, email, visits) VALUES (51, 'q@x', 1), (2, 's@x', -1) ON CONFLICT (_id) DO UPDATE SET note = 'met'
[shop, crm, archive] INSERT INTO target.pairs (a, b, qty) VALUES (1, 'x', 11), (1, 'z', 12), (1, 'X', 13) ON CONFLICT (a, b) DO UPDATE SET qty = excluded.qty
[shop, crm, archive] INSERT INTO target.pairs (a, b, qty) VALUES (1, 'x', 14), (4, 'x', 15) ON CONFLICT (b, a) DO NOTHING
-- Values that are computed of the row that is there, and conditions on it.
INSERT INTO target.people (_id, email, visits) VALUES (1, 'y@x', 1) ON CONFLICT (_id) DO UPDATE SET visits = people.visits + 1
INSERT INTO target.people (_id, email, visits) VALUES (1, 'y@x', 1) ON CONFLICT (_id) DO UPDATE SET visits = 1 WHERE people.visits > 0
INSERT INTO target.people (_id, email, visits) VALUES (1, 'y@x', 1) ON CONFLICT (_id) DO UPDATE SET visits = 1 WHERE people.visits < 0
INSERT INTO target.people AS p (_id, email, visits) VALUES (1, 'y@x', 5), (50, 'z@x', 6), (2, 'y2@x', 7) ON CONFLICT (_id) DO UPDATE SET visits = p.visits + excluded.visits, note = p.email || '/' || excluded.email WHERE p.visits <> excluded.visits RETURNING _id, visits, note
INSERT INTO target.people (_id, email, visits) SELECT item, 'from ' || _id, 1 FROM other.sources WHERE item IS NOT NULL AND _id <> 12 ON CONFLICT (_id) DO UPDATE SET visits = people.visits * 2, email = upper(excluded.email)
INSERT INTO target.people (_id, email, visits) VALUES (60, 's@x', 6), (61, 'fresh@x', 1) ON CONFLICT (email) DO UPDATE SET visits = people.visits + excluded.visits, note = 'met ' || excluded._id
INSERT INTO target.people (_id, email, visits) VALUES (1, 'y@x', $1) ON CONFLICT (_id) DO UPDATE SET visits = people.visits + $2, note = $3 WHERE people.email <> $4 <- 3 <- 4 <- five <- nobody
INSERT INTO target.people (_id, email, visits) VALUES (1, 'y@x', 1) ON CONFLICT (_id) DO UPDATE SET visits = visits + 1
INSERT INTO target.people (_id, email, visits) VALUES (1, 'y@x', 1) ON CONFLICT (_id) DO UPDATE SET visits = people.visits || 'x'
INSERT INTO target.people (_id, email, visits) VALUES (1, 'y@x', 0) ON CONFLICT (_id) DO UPDATE SET visits = 10 / excluded.visits
INSERT INTO target.people (_id, email, visits) VALUES (1, 'y@x', 0) ON CONFLICT (_id) DO UPDATE SET visits = 10 / excluded.visits WHERE excluded.visits <> 0
INSERT INTO target.people (_id, email, visits) VALUES (70, 'a@z', 1), (70, 'b@z', 2) ON CONFLICT (_id) DO UPDATE SET visits = people.visits + 1
INSERT INTO target.people (_id, email, visits) VALUES (1, 'a@z', 1), (1, 'b@z', 2) ON CONFLICT (_id) DO UPDATE SET visits = people.visits + 1
INSERT INTO target.people (_id, email, visits) VALUES (1, 'a@z', 1), (1, 'b@z', 2) ON CONFLICT (_id) DO UPDATE SET visits = excluded.visits
INSERT INTO target.people (_id, email, visits) VALUES (1, 'again@z', 1), (1, 'again@z', 2) ON CONFLICT (_id) DO UPDATE SET visits = people.visits + 1 WHERE people.visits < 0
INSERT INTO target.people (_id, email, visits) VALUES (1, 'again@z', 1), (1, 'again@z', 2) ON CONFLICT (_id) DO UPDATE SET visits = people.visits + 1 WHERE people.visits >= 0 RETURNING visits
INSERT INTO target.people (_id, email, visits) VALUES (72, 'again@z', 1), (72, 'again@z', 2) ON CONFLICT (_id) DO UPDATE SET visits = people.visits + 1 WHERE people.visits < 0
-- refused by shop, crm, archive, field: the first one changes nothing, which is not seen
INSERT INTO target.people (_id, email, visits) VALUES (1, 'again@z', 1), (1, 'again@z', 2) ON CONFLICT (_id) DO UPDATE SET note = 'second' WHERE excluded.visits = 2
INSERT INTO target.people (_id, email, visits) VALUES (71, 'fresh@x', 1) ON CONFLICT (_id) DO UPDATE SET visits = people.visits + 1
INSERT INTO target.people (_id, email, visits) VALUES (1, 'y@x', 1) ON CONFLICT (_id) DO UPDATE SET (visits, note) = (SELECT max(s.qty), 'most' FROM other.sources s)
INSERT INTO target.people (_id, email, visits) VALUES (1, 'y@x', 1) ON CONFLICT (_id) DO UPDATE SET visits = DEFAULT, email = excluded.email || '!' RETURNING _id, email
[shop, crm, archive] INSERT INTO target.people (_id, email) VALUES (1, 'y@x'), (80, 'w@z') ON CONFLICT (_id) DO UPDATE SET visits = people.visits + excluded.visits, note = excluded.note || '?'
[shop, crm, archive] INSERT INTO target.people (_id, email, visits) VALUES (1, 'y@x', 1) ON CONFLICT (_id) DO UPDATE SET visits = people.visits - 1000000
-- Rows get other keys one after the other, in the order in which they are given.
[shop, crm, archive] INSERT INTO target.people (_id, email, visits) VALUES (1, 'k@x', 1) ON CONFLICT (_id) DO UPDATE SET _id = people._id + 1
[shop, crm, archive] INSERT INTO target.people (_id, email, visits) VALUES (3, 'k@x', 1), (2, 'l@x', 1), (1, 'm@x', 1) ON CONFLICT (_id) DO UPDATE SET _id = people._id + 1
[shop, crm, archive] INSERT INTO target.people (_id, email, visits) VALUES (2, 'k@x', 1), (3, 'l@x', 1), (4, 'm@x', 1) ON CONFLICT (_id) DO UPDATE SET _id = people._id - 1
INSERT INTO target.people (_id, email, visits) VALUES (1, 'k@x', 1), (300, 'three@x', 1), (2, 'm@x', 1) ON CONFLICT (_id) DO UPDATE SET email = excluded.email || '!', visits = people.visits + 1
-- Rows that meet others are judged before what they meet is changed.
[shop, crm, archive] INSERT INTO target.people (_id, email, visits) VALUES (1, NULL, 1) ON CONFLICT (_id) DO UPDATE SET visits = people.visits + 1
[shop, crm, archive] INSERT INTO target.people (_id, email, visits) VALUES (1, 'y@x', -1) ON CONFLICT (_id) DO UPDATE SET visits = people.visits + 1
[shop, crm, archive] INSERT INTO target.people (_id, email, visits) VALUES (1, 'y@x', -1) ON CONFLICT (_id) DO UPDATE SET visits = people.visits + 1 WHERE people.visits < 0
[shop, crm, archive] INSERT INTO target.people (_id, visits) VALUES (1, 1) ON CONFLICT (_id) DO UPDATE SET visits = people.visits + 1
[shop, crm, archive] INSERT INTO target.people (_id, email, visits) VALUES (90, 'ninety@x', 1), (2, 'y@x', NULL) ON CONFLICT (_id) DO UPDATE SET visits = people.visits + 1
[shop, crm, archive] INSERT INTO target.people (_id, email, visits) VALUES (91, 's@x', -1) ON CONFLICT (email) DO UPDATE SET visits = people.visits + 1
[shop, crm, archive] INSERT INTO target.people (_id, email, visits) VALUES (1, 'bob@x', 1) ON CONFLICT (_id) DO UPDATE SET visits = people.visits + 1 RETURNING visits
[shop, crm, archive] INSERT INTO target.pairs (a, b, qty) VALUES (1, 'x', 1), (9, 'x', 2), (2, 'x', 3) ON CONFLICT (a, b) DO UPDATE SET qty = coalesce(pairs.qty, 0) + excluded.qty RETURNING a, b, qty
[shop, crm, archive] INSERT INTO target.pairs (a, b, qty) SELECT a, b, 100 FROM target.pairs ON CONFLICT (a, b) DO UPDATE SET qty = pairs.qty + excluded.qty WHERE pairs.a > 1
[archive] INSERT INTO target.pairs (a, b, qty) VALUES (1, 'x', 1) ON CONFLICT (a, b) DO UPDATE SET qty = pairs.qty + 1

-- A query without FROM before ON CONFLICT.
INSERT INTO target.people (_id, email, visits) SELECT 1, 'again@x', 7 ON CONFLICT (_id) DO UPDATE SET visits = excluded.visits
INSERT INTO target.people (_id, email, visits) SELECT 1, 'once@x', 3 ON CONFLICT DO NOTHING

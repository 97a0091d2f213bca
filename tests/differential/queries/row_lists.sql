-- Lists of rows, written out and as the keys of joins over several columns. A NULL in a row is equal to nothing.
SELECT id FROM shop.order_lines WHERE (order_id, line_no) IN ((1, 2), (2, 1), (12, 1), (999, 1))
SELECT id FROM shop.order_lines WHERE (order_id, line_no) NOT IN ((1, 2), (2, 1), (12, 1), (999, 1))
SELECT id FROM shop.order_lines WHERE (order_id, line_no) IN ((1, 1), (1, 2), (2, 1), (3, 1), (7, 3), (240, 2), (12, 1), (30, 32767), (31, 1), (32, 1), (33, 1))
SELECT id FROM shop.order_lines WHERE (order_id, product) IN ((12, NULL), (1, 1), (1, 2)) ORDER BY id
SELECT id FROM shop.order_lines WHERE (line_no, price) IN ((1, 10), (2, -1.5), (2, 0.33330)) AND quantity > -5
SELECT id FROM shop.orders WHERE (status, customer) IN (('open', 1), ('Open', 1), ('OPEN', 8), ('closed', 10), ('closed ', 10))
SELECT id FROM shop.orders WHERE (status, placed) IN (('open', '2024-01-01'), ('open', 'infinity'), ('eclair', '2024-02-29 23:59:59.999999'))
SELECT id FROM crm.clients WHERE (name, shop_id) IN (('ada', 1), ('Ada', 1), ('ada', 3), ('zoe', 8), ('ZOE', 8))
SELECT id FROM crm.clients WHERE (name, shop_id) IN (('Ada', 1), ('ADA', 2), ('ada ', 3), ('ada', 3), ('Zoë', 4), ('zoe', 8), ('Oslo', 1), ('x', 1), ('y', 2), ('z', 3))
SELECT id FROM crm.clients WHERE (name, code, credit) IN (('Ada', 'A1', 100), ('ADA', 'a1', -0.0000000001), ('ada', 'A1 ', 1))
SELECT id FROM crm.clients WHERE (since, tier) IN (('2024-02-29', 1), ('1000-01-01', -128), ('1969-12-31', 3))
SELECT id FROM crm.clients WHERE (kind, big) IN (('new', 18446744073709551615), ('old', 0), ('NEW', 100))
SELECT id FROM archive.stamps WHERE (label, owner) IN (('Ada', 1), ('ADA', 1), ('ada', 2), ('ada ', 2), ('zoë', 2))
SELECT id FROM archive.stamps WHERE (label, code, worth) IN (('Ada', 'a1', 1.5), ('ADA', 'a1', -0.000001), ('it''s', 'zoe', 0.333333))
SELECT id FROM shop.order_lines WHERE (order_id, line_no) IN ((1, 1), (1, 2), (2, 1), (2, 2), (12, 1), (12, 2), (12, 3), (30, 1))
SELECT id FROM shop.order_lines WHERE (order_id = 1 AND line_no IN (1, 2)) OR (order_id = 2 AND line_no = 1) OR (line_no = 1 AND order_id IN (12, 30))
SELECT id FROM shop.order_lines WHERE (order_id = 1 AND (line_no = 1 OR line_no = 2)) OR (order_id = 2 AND (line_no = 1 OR line_no IS NULL))
SELECT id FROM crm.clients WHERE (name, shop_id) IN (('Ada', 1), ('Ada', 2), ('ada', 1), ('ada', 3), ('zoe', 8), ('zoe', 9))
SELECT id FROM crm.clients WHERE (name, code, credit) IN (('Ada', 'A1', 100), ('Ada', 'A1', 1), ('ada', 'A1 ', 1), ('ada', 'a1', -0.0000000001))
SELECT id FROM archive.stamps WHERE (label, owner) IN (('Ada', 1), ('Ada', 2), ('ada', 1), ('ada', 2), ('zoë', 2), ('zoë', 3))
SELECT no FROM field.visits WHERE (client, parcel) IN ((1, 1), (1, 2), (7, 5), (7, 6), (2, 2), (2, 3))
SELECT id FROM archive.stamps WHERE label NOT IN ('ada', 'zoë', 'IT''S', 'x', 'y')
SELECT no FROM field.visits WHERE (client, parcel) IN ((1, 1), (1, 2), (7, 5), (2, 2))
SELECT no FROM field.visits WHERE (mood, open) IN (('happy', true), ('Happy', true), ('Happy', false), ('', true))
SELECT l.id, c.id FROM shop.order_lines l JOIN crm.clients c ON c.shop_id = l.order_id AND c.tier = l.line_no
SELECT s.id, c.id FROM archive.stamps s JOIN crm.clients c ON c.shop_id = s.owner AND c.name = s.label
SELECT c.id, s.id FROM crm.clients c LEFT JOIN archive.stamps s ON s.owner = c.shop_id AND s.label = c.name WHERE c.id < 10
SELECT v.no, l.id FROM field.visits v JOIN shop.order_lines l ON l.order_id = v.client AND l.product = v.parcel
SELECT o.id FROM shop.orders o WHERE EXISTS (SELECT FROM crm.clients c WHERE c.shop_id = o.customer AND c.memo = o.status)
SELECT s.id, o.id FROM archive.stamps s JOIN shop.orders o ON o.customer IS NOT DISTINCT FROM s.owner AND o.status IS NOT DISTINCT FROM s.label

-- Nested documents: lines inside their orders, for one customer
-- sorted by 1, 3
-- only in documents
select o_orderkey, (line).l_shipmode, (line).l_linenumber, (line).l_extendedprice
from (select o_orderkey, unnest(lineitems) as line from papers.orders where o_custkey = 37) as lines
where (line).l_quantity >= 20
order by o_orderkey, (line).l_linenumber

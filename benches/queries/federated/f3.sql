-- The ten dearest orders with who placed them
-- sorted by 2, 1
select o_orderkey, o_totalprice, o_orderdate, c_name, n_name
from orders
join customer on c_custkey = o_custkey
join nation on n_nationkey = c_nationkey
order by o_totalprice desc, o_orderkey
limit 10

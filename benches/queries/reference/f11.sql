select o_orderkey, l_shipmode, l_linenumber, l_extendedprice
from orders join lineitem on l_orderkey = o_orderkey
where o_custkey = 37 and l_quantity >= 20
order by o_orderkey, l_linenumber

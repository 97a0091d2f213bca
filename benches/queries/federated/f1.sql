-- One customer by key, with the orders and lines of that customer
-- sorted by 2, 4
select c_name, o_orderkey, o_orderdate, l_linenumber, l_quantity, l_shipmode
from customer
join orders on o_custkey = c_custkey
join lineitem on l_orderkey = o_orderkey
where c_custkey = 37
order by o_orderkey, l_linenumber

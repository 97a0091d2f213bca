select c_mktsegment, count(*) as orders, sum((select count(*) from lineitem where l_orderkey = o_orderkey))::bigint as lines
from orders join customer on c_custkey = o_custkey
where o_orderpriority = '1-URGENT'
group by c_mktsegment
order by c_mktsegment

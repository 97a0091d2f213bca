-- A few customers found by their balance, and their returned lines
-- sorted by 1
select c_custkey, c_name, count(*) as lines, sum(l_extendedprice * (1 - l_discount)) as returned
from customer
join orders on o_custkey = c_custkey
join lineitem on l_orderkey = o_orderkey
where c_acctbal > 9900
  and c_mktsegment = 'MACHINERY'
  and l_returnflag = 'R'
group by c_custkey, c_name
order by c_custkey

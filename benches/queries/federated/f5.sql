-- A star: lines with part, supplier, nation and order, each with a condition of its own
-- sorted by 1, 2
select n_name, extract(year from o_orderdate) as year, count(*) as lines, sum(l_quantity) as pieces
from lineitem
join part on p_partkey = l_partkey
join supplier on s_suppkey = l_suppkey
join nation on n_nationkey = s_nationkey
join orders on o_orderkey = l_orderkey
where p_brand = 'Brand#32'
  and p_size < 20
  and n_regionkey = 3
  and o_orderpriority in ('1-URGENT', '2-HIGH')
group by n_name, extract(year from o_orderdate)
order by n_name, year

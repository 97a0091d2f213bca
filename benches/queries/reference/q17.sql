with few as (
    select l_partkey as partkey, 0.2 * avg(l_quantity) as quantity from lineitem group by l_partkey
)
select sum(l_extendedprice) / 7.0 as avg_yearly
from lineitem
join part on p_partkey = l_partkey
join few on partkey = l_partkey
where p_brand = 'Brand#23' and p_container = 'MED BOX' and l_quantity < quantity

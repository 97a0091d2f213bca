with shipped as (
    select l_partkey as partkey, l_suppkey as suppkey, 0.5 * sum(l_quantity) as quantity
    from lineitem
    where l_shipdate >= date '1994-01-01' and l_shipdate < date '1995-01-01'
    group by l_partkey, l_suppkey
), offered as (
    select distinct ps_suppkey as suppkey
    from partsupp
    join part on p_partkey = ps_partkey
    join shipped on partkey = ps_partkey and shipped.suppkey = ps_suppkey
    where p_name like 'forest%' and ps_availqty > quantity
)
select s_name, s_address
from supplier join offered on offered.suppkey = s_suppkey join nation on n_nationkey = s_nationkey
where n_name = 'CANADA'
order by s_name

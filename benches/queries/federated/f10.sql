-- The cheapest offers of a few parts, ranked within each part
-- sorted by 1, 2
select p_partkey, place, s_name, ps_supplycost
from (
    select p_partkey, s_name, ps_supplycost,
           row_number() over (partition by p_partkey order by ps_supplycost, s_suppkey) as place
    from part
    join partsupp on ps_partkey = p_partkey
    join supplier on s_suppkey = ps_suppkey
    where p_name like 'lemon%'
) as offers
where place <= 2
order by p_partkey, place

-- Skew: nine lines in ten meet one supplier
-- sorted by 1
select s_nationkey, count(*) as lines, sum(l_quantity) as pieces
from (
    select case when l_linenumber + l_partkey % 7 < 11 then 1 else l_suppkey end as hot, l_quantity
    from lineitem
    where l_shipmode in ('RAIL', 'TRUCK')
) as shipped
join supplier on s_suppkey = hot
group by s_nationkey
order by s_nationkey

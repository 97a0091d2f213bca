-- Customers of two nations who ordered nothing in one year
-- sorted by 1
select n_name, count(*) as customers, sum(c_acctbal) as balance
from customer
join nation on n_nationkey = c_nationkey
where n_name in ('FRANCE', 'JAPAN')
  and not exists (
      select 1
      from orders
      where o_custkey = c_custkey
        and o_orderdate >= date '1996-01-01'
        and o_orderdate < date '1997-01-01'
  )
group by n_name
order by n_name

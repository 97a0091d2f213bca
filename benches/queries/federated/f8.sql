-- Everybody's phone in one list, customers and suppliers of one nation
-- sorted by 1, 2
select s_phone as phone, s_name as name, 'supplier' as kind
from supplier
join nation on n_nationkey = s_nationkey
where n_name = 'PERU'
union all
select c_phone, c_name, 'customer'
from customer
join nation on n_nationkey = c_nationkey
where n_name = 'PERU' and c_acctbal < 0
order by phone, name

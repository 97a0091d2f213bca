-- The latest lines of the suppliers of one nation
-- sorted by 1, 2, 3
select l_receiptdate, l_orderkey, l_linenumber, s_name, l_quantity
from lineitem
join supplier on s_suppkey = l_suppkey
join nation on n_nationkey = s_nationkey
where n_name = 'KENYA'
order by l_receiptdate desc, l_orderkey, l_linenumber
limit 25

-- Every line, counted by how it was shipped: a whole table that only its groups need to leave
-- sorted by 1, 2
select l_shipmode, l_returnflag, count(*) as lines, min(l_shipdate) as first, max(l_receiptdate) as last, sum(l_quantity) as pieces
from lineitem
group by l_shipmode, l_returnflag
order by l_shipmode, l_returnflag

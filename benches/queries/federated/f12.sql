-- Nested documents: orders joined to customers elsewhere, their lines counted inside the document
-- sorted by 1
-- only in documents
select c_mktsegment, count(*) as orders, sum(cardinality(lineitems)) as lines
from papers.orders
join customer on c_custkey = o_custkey
where o_orderpriority = '1-URGENT'
group by c_mktsegment
order by c_mktsegment

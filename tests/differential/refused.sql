-- Statements that are refused with 0A000, each group with its reason.

-- Row locks would be ignored.
SELECT id FROM shop.customers FOR UPDATE

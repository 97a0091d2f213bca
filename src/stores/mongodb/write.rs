//! Changes to collections. Not built yet: the connector only reads. A transaction of the server will begin with the first
//! write of a block, because the server ends transactions after a minute.

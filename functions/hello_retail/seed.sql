-- The shop's data for repeated requests: one product with its price, one card, and @photographers free photographers.
-- Each photo-request uses one photographer up. Without a number there are 100, as many as the paper's repetitions.
-- The photographers' ids have equal lengths, so that all rounds carry the same numbers of bytes.

SET @photographers = CAST(COALESCE(@photographers, 100) AS UNSIGNED);

CREATE TABLE IF NOT EXISTS photographerRegistry (rowkey VARCHAR(256) PRIMARY KEY, rowvalues MEDIUMTEXT NOT NULL);
CREATE TABLE IF NOT EXISTS photoAssignments (rowkey VARCHAR(256) PRIMARY KEY, rowvalues MEDIUMTEXT NOT NULL);
CREATE TABLE IF NOT EXISTS storedPhotos (rowkey VARCHAR(256) PRIMARY KEY, rowvalues MEDIUMTEXT NOT NULL);
CREATE TABLE IF NOT EXISTS productCategory (rowkey VARCHAR(256) PRIMARY KEY, rowvalues MEDIUMTEXT NOT NULL);
CREATE TABLE IF NOT EXISTS productCatalog (rowkey VARCHAR(256) PRIMARY KEY, rowvalues MEDIUMTEXT NOT NULL);
CREATE TABLE IF NOT EXISTS productPrice (rowkey VARCHAR(256) PRIMARY KEY, rowvalues MEDIUMTEXT NOT NULL);
CREATE TABLE IF NOT EXISTS creditCardAuthority (rowkey VARCHAR(256) PRIMARY KEY, rowvalues MEDIUMTEXT NOT NULL);

INSERT INTO productCategory VALUES ('Socks for All', '{"category":"Socks for All"}');
INSERT INTO productCatalog VALUES ('4579874', '{"id":"4579874","brand":"Northshore Makers","name":"Striped Wool Socks, Three Pair","description":"Warm socks of merino wool, striped by the yard","category":"Socks for All"}');
INSERT INTO productPrice VALUES ('4579874', '{"price":"499"}');
INSERT INTO creditCardAuthority VALUES ('prabkumar', '{"creditCard":"1234-5678-9"}');

SET SESSION max_recursive_iterations = 100000;
INSERT INTO photographerRegistry
  WITH RECURSIVE numbers (number) AS
    (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < @photographers),
  ids (id) AS
    (SELECT LPAD(number, LENGTH(@photographers), '0') FROM numbers)
  SELECT id, CONCAT('{"id":"', id, '","phone":"200494","registrations":3,"assignments":0}') FROM ids;

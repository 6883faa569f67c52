-- What a sale is.
CREATE TABLE sales (
  id INT AUTO_INCREMENT PRIMARY KEY,
  what VARCHAR(100) NOT NULL
);
INSERT INTO sales (what) VALUES ('opening balance; Übertrag');

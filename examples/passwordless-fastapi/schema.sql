-- Run once by the role that owns the tables, not by the application: it needs no more than DML.
create table if not exists notes (
  id bigint generated always as identity primary key,
  text text not null check (length(text) between 1 and 2000)
);

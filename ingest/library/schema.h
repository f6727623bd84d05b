// The library's schema as the list of migrations that make it; PRAGMA user_version counts those applied. A released
// migration is never edited: changes are new entries.
//
//   documents ─┬─ pages      one row per page; `words` holds the page as read (protocol.h) until the tree is made;
//              │             of recognised pages for good
//              ├─ outline    the file's own outline, until the tree is made
//              ├─ nodes ── node_vectors
//              │             sections and leaves; `ordinal` is reading order, parents before children
//              ├─ blocks     text with the box of every word; `node` is the leaf
//              └─ chats ── messages ── citations
//   pages.recognised         1: by text recognition; 2: so, but the tree does not have it yet
//   queue                    files that are still to be imported
//   leaf_text / leaf_index   what full-text search sees of a leaf: its title path and its text (FTS5, external content)
#pragma once

#include <vector>

namespace longleaf {

inline const std::vector<const char*> kLibraryMigrations = {R"sql(
CREATE TABLE documents(
  key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, title TEXT NOT NULL, author TEXT NOT NULL, path TEXT NOT NULL,
  pages INTEGER NOT NULL, state INTEGER NOT NULL, imported_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE pages(
  document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE, number INTEGER NOT NULL,
  width REAL NOT NULL, height REAL NOT NULL, label TEXT NOT NULL, has_text INTEGER NOT NULL, problem TEXT, words BLOB,
  PRIMARY KEY(document, number)) WITHOUT ROWID;
CREATE TABLE outline(
  document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE, ordinal INTEGER NOT NULL, level INTEGER NOT NULL,
  title TEXT NOT NULL, page INTEGER NOT NULL, top REAL NOT NULL, PRIMARY KEY(document, ordinal)) WITHOUT ROWID;
CREATE TABLE nodes(
  key INTEGER PRIMARY KEY, document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
  parent INTEGER REFERENCES nodes ON DELETE CASCADE, ordinal INTEGER NOT NULL, kind INTEGER NOT NULL,
  level INTEGER NOT NULL, title TEXT NOT NULL, page_first INTEGER NOT NULL, page_last INTEGER NOT NULL,
  tokens INTEGER NOT NULL);
CREATE UNIQUE INDEX nodes_in_order ON nodes(document, ordinal);
CREATE INDEX nodes_by_parent ON nodes(parent);
CREATE TABLE blocks(
  key INTEGER PRIMARY KEY, document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE, page INTEGER NOT NULL,
  node INTEGER NOT NULL REFERENCES nodes ON DELETE CASCADE, kind INTEGER NOT NULL, text TEXT NOT NULL,
  words BLOB NOT NULL);
CREATE INDEX blocks_by_page ON blocks(document, page);
CREATE INDEX blocks_by_node ON blocks(node);
CREATE TABLE leaf_text(
  key INTEGER PRIMARY KEY REFERENCES nodes ON DELETE CASCADE, document INTEGER NOT NULL, path TEXT NOT NULL,
  body TEXT NOT NULL);
CREATE INDEX leaf_text_by_document ON leaf_text(document);
CREATE VIRTUAL TABLE leaf_index USING fts5(
  path, body, content = 'leaf_text', content_rowid = 'key', tokenize = "porter unicode61 remove_diacritics 2");
CREATE TRIGGER leaf_text_added AFTER INSERT ON leaf_text BEGIN
  INSERT INTO leaf_index(rowid, path, body) VALUES (new.key, new.path, new.body); END;
CREATE TRIGGER leaf_text_removed AFTER DELETE ON leaf_text BEGIN
  INSERT INTO leaf_index(leaf_index, rowid, path, body) VALUES ('delete', old.key, old.path, old.body); END;
CREATE TABLE chats(
  key INTEGER PRIMARY KEY, document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
  created_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE messages(
  key INTEGER PRIMARY KEY, chat INTEGER NOT NULL REFERENCES chats ON DELETE CASCADE, question TEXT NOT NULL,
  answer TEXT NOT NULL, evidence TEXT NOT NULL, created_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE citations(
  message INTEGER NOT NULL REFERENCES messages ON DELETE CASCADE, ordinal INTEGER NOT NULL, sentence TEXT NOT NULL,
  supported INTEGER NOT NULL, page INTEGER NOT NULL, quote TEXT NOT NULL, boxes BLOB NOT NULL,
  PRIMARY KEY(message, ordinal)) WITHOUT ROWID;
CREATE TABLE settings(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
)sql",
                                                            // Text that no reader sees, kept apart; pages of
                                                            // unfinished imports are read anew, in the new encoding.
                                                            R"sql(
ALTER TABLE pages ADD COLUMN hidden TEXT NOT NULL DEFAULT '';
DELETE FROM pages WHERE document IN (SELECT key FROM documents WHERE state = 0);
)sql",
                                                            // Imports that survive a crash; which pages are scans;
                                                            // words of scripts without spaces (text_tokenizer.h).
                                                            // The encoding of pages changed again.
                                                            R"sql(
CREATE TABLE queue(
  path TEXT PRIMARY KEY, urgent INTEGER NOT NULL, place INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
  reached INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
ALTER TABLE pages ADD COLUMN picture_share REAL NOT NULL DEFAULT 0;
ALTER TABLE pages ADD COLUMN recognised INTEGER NOT NULL DEFAULT 0;
DELETE FROM pages WHERE document IN (SELECT key FROM documents WHERE state = 0);
DROP TABLE leaf_index;
CREATE VIRTUAL TABLE leaf_index USING fts5(
  path, body, content = 'leaf_text', content_rowid = 'key', tokenize = "longleaf");
INSERT INTO leaf_index(leaf_index) VALUES ('rebuild');
)sql",
                                                            // Vectors of leaves, by the model that made them.
                                                            R"sql(
CREATE TABLE node_vectors(
  node INTEGER NOT NULL REFERENCES nodes ON DELETE CASCADE, model INTEGER NOT NULL, vector BLOB NOT NULL,
  PRIMARY KEY(node, model)) WITHOUT ROWID;
)sql",
                                                            // Words as they are written beside their stems.
                                                            R"sql(
INSERT INTO leaf_index(leaf_index) VALUES ('rebuild');
)sql"};

}  // namespace longleaf

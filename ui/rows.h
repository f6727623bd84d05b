// What the window shows, as plain values. Pages count from 0; boxes are normalised 0..1 with a top-left origin.
#pragma once

#include <QList>
#include <QRectF>
#include <QSizeF>
#include <QString>
#include <QStringList>

namespace longleaf::ui {

struct LibraryItem {
  qint64 key = 0;
  QString title;
  int pages = 0;
  int leaves = 0;
  bool ready = false;
  QString id;  // of the file's bytes: a key may come to mean another document
};

struct SectionItem {
  qint64 key = 0;
  qint64 parent = 0;  // 0: the document
  bool isLeaf = false;
  QString title;
  int pageFirst = 0, pageLast = 0;
};

enum class RouteMark { None, Kept, Pruned };

struct PageItem {
  QSizeF sizePt;
  QString label;  // as printed, may be empty
};

// One sentence of an answer and where it comes from.
struct SourceItem {
  QString sentence;
  bool supported = false;
  int page = -1;
  QString pageLabel;
  QString quote;
  QList<QRectF> boxes;
};

// A passage that has the words that were looked for.
struct SearchItem {
  int page = 0;
  QString pageLabel;  // as printed, else its number from 1
  QString snippet;    // hits between ** and **
  QList<QRectF> boxes;
};

struct ChatItem {
  QString question;
  QString answer;
  QList<SourceItem> sources;  // in the order of the answer; empty while it streams
};

struct Figures {
  QString device;  // empty: no model is loaded
  QString model;
  quint64 memoryUsed = 0, memoryTotal = 0;  // bytes, of cards if there are
  quint64 memoryOthers = 0;                 // that other programs and the driver have of them
  double ttftMs = -1;                       // negative: not known yet
  double prefillPerSecond = -1;
  double decodePerSecond = -1;
  QString evidence;
  QString deviceNote;  // one sentence; empty where there is nothing to say
};

// What a memory is to be trained on, and how.
struct TrainingWish {
  bool wholeLibrary = false;  // or the open document
  QString questions;          // a file; empty: none
  int written = 0;            // or so many that the model writes itself
  QString out;                // the file that is made
  int steps = 1000;
  int rank = 8;
  double rate = 1e-4;
  bool scales = false;  // memories to the size of embeddings
};

// What will be done, before it is.
struct TrainingPlan {
  qint64 documents = 0, passages = 0, tokens = 0, questions = 0, heldOut = 0, parameters = 0;
  quint64 bytes = 0;
  QString device;        // that trains
  qint64 stepsDone = 0;  // by an earlier run
  QStringList notes;     // sentences
};

struct TrainingPoint {
  qint64 step = 0;
  double loss = 0;
  bool onQuestions = false;
  double heldOutLoss = -1, right = -1, reached = -1;  // negative: not scored at this step
};

// A long job as the window shows it.
struct JobItem {
  QString what;                // "Reading Handbook"
  qint64 done = 0, total = 0;  // pages or leaves
  QString unit;
  double secondsLeft = -1;  // negative: not known yet
  bool paused = false;
  bool controls = true;  // it can be paused and cancelled by itself
};

}  // namespace longleaf::ui

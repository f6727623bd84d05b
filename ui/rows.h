// What the window shows, as plain values. Pages count from 0; boxes are normalised 0..1 with a top-left origin.
#pragma once

#include <QList>
#include <QRectF>
#include <QSizeF>
#include <QString>

namespace longleaf::ui {

struct LibraryItem {
  qint64 key = 0;
  QString title;
  int pages = 0;
  int leaves = 0;
  bool ready = false;
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

// The window: library and section tree, pages, conversation. It shows values and emits what the reader wants; it knows
// neither engine nor library. GUI thread.
#pragma once

#include <QHash>
#include <QMainWindow>

#include "ui/rows.h"

class QAction;
class QLabel;
class QListView;
class QTreeView;

namespace longleaf::ui {

class ChatView;
class DropOverlay;
class FiguresBar;
class JobBar;
class LibraryModel;
class ModelMenu;
class PageView;
class SearchPanel;
class SectionModel;
class TrainingWindow;

class MainWindow final : public QMainWindow {
  Q_OBJECT

 public:
  explicit MainWindow(QWidget* parent = nullptr);

  PageView* pages() const { return pages_; }
  ChatView* chat() const { return chat_; }
  FiguresBar* figures() const { return figures_; }
  JobBar* job() const { return job_; }
  ModelMenu* modelMenu() const { return modelMenu_; }
  TrainingWindow* training() const { return training_; }
  SectionModel* sections() const { return sections_; }
  SearchPanel* search() const { return search_; }
  LibraryModel* library() const { return library_; }

  void setDocuments(const QList<LibraryItem>& documents, qint64 selected);
  void setDocument(const QString& title, const QList<SectionItem>& sections, const QList<PageItem>& pages);
  void setRoute(const QHash<qint64, RouteMark>& marks);
  // language: answers can be written; embedder: only passages are found better.
  void setModelsOpen(bool language, bool embedder);
  // A sentence that stays until the next one; problems also say so by colour.
  void showNotice(const QString& text, bool problem);
  QString notice() const;
  // Opens a dialog that does not block; the answer comes as passwordGiven.
  void askPassword(const QString& file, const QString& reason);
  // As askPassword, for the languages of scanned pages; the answer comes as languagesChosen.
  void askLanguages(const QStringList& languages, const QString& what);

 signals:
  void filesOpened(const QStringList& files);
  void modelOpened(const QString& file);
  void modelClosed();
  void documentSelected(qint64 key);
  void deleteRequested(qint64 key);
  void encodeRequested();
  void recogniseRequested();
  void languagesChosen(const QString& languages);
  void newChatRequested();
  void passwordGiven(const QString& file, const QString& password);

 protected:
  void dragEnterEvent(QDragEnterEvent* event) override;
  void dragLeaveEvent(QDragLeaveEvent* event) override;
  void dropEvent(QDropEvent* event) override;
  void resizeEvent(QResizeEvent* event) override;

 private:
  void makeMenus();
  void makeLayout();
  void openDocuments();
  void openFolder();
  void openModel();
  void confirmDelete();

  LibraryModel* library_;
  SectionModel* sections_;
  QListView* libraryView_;
  QTreeView* sectionView_;
  SearchPanel* search_;
  PageView* pages_;
  ChatView* chat_;
  FiguresBar* figures_;
  JobBar* job_;
  QLabel* notice_;
  DropOverlay* overlay_;
  ModelMenu* modelMenu_;
  TrainingWindow* training_;
  QAction* encode_ = nullptr;
};

}  // namespace longleaf::ui

#include "ui/main_window.h"

#include <QAbstractButton>
#include <QAction>
#include <QDragEnterEvent>
#include <QFileDialog>
#include <QFileInfo>
#include <QInputDialog>
#include <QLabel>
#include <QListView>
#include <QMenuBar>
#include <QMessageBox>
#include <QMimeData>
#include <QSplitter>
#include <QStatusBar>
#include <QTreeView>
#include <QVBoxLayout>

#include "ui/chat_view.h"
#include "ui/drop_overlay.h"
#include "ui/figures_bar.h"
#include "ui/job_bar.h"
#include "ui/library_model.h"
#include "ui/model_menu.h"
#include "ui/page_view.h"
#include "ui/search_panel.h"
#include "ui/section_model.h"
#include "ui/training_window.h"

namespace longleaf::ui {
namespace {

QStringList localFiles(const QMimeData* data) {
  QStringList files;
  for (const QUrl& url : data->urls())
    if (url.isLocalFile()) files.append(url.toLocalFile());
  return files;
}

}  // namespace

MainWindow::MainWindow(QWidget* parent)
    : QMainWindow(parent),
      library_(new LibraryModel(this)),
      sections_(new SectionModel(this)),
      libraryView_(new QListView),
      sectionView_(new QTreeView),
      search_(new SearchPanel(sectionView_)),
      pages_(new PageView),
      chat_(new ChatView),
      figures_(new FiguresBar),
      job_(new JobBar),
      notice_(new QLabel),
      overlay_(new DropOverlay(this)),
      modelMenu_(new ModelMenu(this)),
      training_(new TrainingWindow(this)) {
  setWindowTitle(tr("Longleaf"));
  resize(1360, 860);
  setAcceptDrops(true);
  makeLayout();
  makeMenus();
  connect(libraryView_->selectionModel(), &QItemSelectionModel::currentChanged, this, [this](const QModelIndex& index) {
    if (index.isValid()) emit documentSelected(index.data(LibraryModel::KeyRole).toLongLong());
  });
  const auto go = [this](const QModelIndex& index) { pages_->showPage(index.data(SectionModel::PageRole).toInt()); };
  connect(sectionView_, &QTreeView::clicked, this, go);
  connect(sectionView_, &QTreeView::activated, this, go);
  connect(search_, &SearchPanel::hitActivated, this,
          [this](const SearchItem& hit) { pages_->showBoxes(hit.page, hit.boxes); });
  connect(chat_, &ChatView::sourceActivated, this,
          [this](const SourceItem& source) { pages_->showBoxes(source.page, source.boxes); });
  setModelsOpen(false, false);
}

void MainWindow::makeLayout() {
  libraryView_->setModel(library_);
  libraryView_->setAccessibleName(tr("Library"));
  libraryView_->setUniformItemSizes(true);
  libraryView_->setTextElideMode(Qt::ElideRight);
  sectionView_->setModel(sections_);
  sectionView_->setHeaderHidden(true);
  sectionView_->setUniformRowHeights(true);
  sectionView_->setAccessibleName(tr("Sections"));
  notice_->setWordWrap(true);
  notice_->setTextFormat(Qt::PlainText);
  notice_->setContentsMargins(6, 2, 6, 2);
  notice_->hide();
  for (QWidget* child : {static_cast<QWidget*>(pages_), static_cast<QWidget*>(chat_)}) child->setAcceptDrops(false);

  auto* left = new QSplitter(Qt::Vertical);
  left->addWidget(libraryView_);
  left->addWidget(search_);
  left->setSizes({200, 600});
  auto* across = new QSplitter(Qt::Horizontal);
  across->addWidget(left);
  across->addWidget(pages_);
  across->addWidget(chat_);
  across->setSizes({270, 640, 450});
  across->setChildrenCollapsible(false);
  auto* middle = new QWidget;
  auto* layout = new QVBoxLayout(middle);
  layout->setContentsMargins(6, 6, 6, 0);
  layout->addWidget(notice_);
  layout->addWidget(across, 1);
  layout->addWidget(job_);
  setCentralWidget(middle);
  statusBar()->addWidget(figures_, 1);
}

void MainWindow::makeMenus() {
  QMenu* file = menuBar()->addMenu(tr("&File"));
  file->addAction(tr("&Open documents …"), QKeySequence::Open, this, &MainWindow::openDocuments);
  file->addAction(tr("Open &folder …"), this, &MainWindow::openFolder);
  file->addSeparator();
  file->addAction(tr("&Quit"), QKeySequence::Quit, this, &QWidget::close);
  QMenu* document = menuBar()->addMenu(tr("&Document"));
  encode_ = document->addAction(tr("&Encode for the open model"), QKeySequence(tr("Ctrl+E")), this,
                                &MainWindow::encodeRequested);
  document->addAction(tr("&Find …"), QKeySequence::Find, search_, &SearchPanel::focusLine);
  document->addAction(tr("Recognise &text of scanned pages …"), this, &MainWindow::recogniseRequested);
  document->addAction(tr("&New conversation"), QKeySequence::New, this, &MainWindow::newChatRequested);
  document->addAction(tr("&Remove from library …"), this, &MainWindow::confirmDelete);
  menuBar()->addMenu(modelMenu_);
  connect(modelMenu_, &ModelMenu::openRequested, this, &MainWindow::openModel);
  connect(modelMenu_, &ModelMenu::closeRequested, this, &MainWindow::modelClosed);
  connect(modelMenu_, &ModelMenu::trainRequested, training_, [this] {
    training_->show();
    training_->raise();
    training_->activateWindow();
  });
  QMenu* view = menuBar()->addMenu(tr("&View"));
  view->addAction(tr("Zoom &in"), QKeySequence::ZoomIn, this, [this] { pages_->setZoom(pages_->zoom() * 1.2); });
  view->addAction(tr("Zoom &out"), QKeySequence::ZoomOut, this, [this] { pages_->setZoom(pages_->zoom() / 1.2); });
  view->addAction(tr("Fit &width"), QKeySequence(tr("Ctrl+0")), this, [this] { pages_->setZoom(1.0); });
}

void MainWindow::setDocuments(const QList<LibraryItem>& documents, qint64 selected) {
  const QSignalBlocker quiet(libraryView_->selectionModel());
  library_->setDocuments(documents);
  libraryView_->setCurrentIndex(library_->indexOf(selected));
}

void MainWindow::setDocument(const QString& title, const QList<SectionItem>& sections, const QList<PageItem>& pages) {
  setWindowTitle(title.isEmpty() ? tr("Longleaf") : tr("%1 – Longleaf").arg(title));
  sections_->setSections(sections);
  sectionView_->expandToDepth(0);
  pages_->setPages(pages);
  search_->again();
  chat_->setAskingEnabled(!pages.isEmpty(),
                          pages.isEmpty() ? tr("Open a document first") : tr("Ask about this document …"));
}

void MainWindow::setRoute(const QHash<qint64, RouteMark>& marks) {
  sections_->setRoute(marks);
  if (!marks.isEmpty()) sectionView_->collapseAll(), sectionView_->expandToDepth(0);
  bool scrolled = false;
  for (auto it = marks.begin(); it != marks.end(); ++it) {
    if (it.value() != RouteMark::Kept) continue;
    const QModelIndex index = sections_->indexOf(it.key());
    for (QModelIndex up = index.parent(); up.isValid(); up = up.parent()) sectionView_->expand(up);
    if (!scrolled && index.isValid() && sections_->rowCount(index) == 0) sectionView_->scrollTo(index), scrolled = true;
  }
}

void MainWindow::setModelsOpen(bool language, bool embedder) {
  encode_->setEnabled(language);
  modelMenu_->setCloseEnabled(language || embedder);
  modelMenu_->setTrainEnabled(language || training_->isTraining());
}

void MainWindow::showNotice(const QString& text, bool problem) {
  notice_->setText(text);
  notice_->setStyleSheet(problem ? QStringLiteral("color: #8e2c22; background: #fbe9e7;") : QString());
  notice_->setVisible(!text.isEmpty());
}

QString MainWindow::notice() const { return notice_->text(); }

void MainWindow::askPassword(const QString& file, const QString& reason) {
  auto* dialog = new QInputDialog(this);
  dialog->setAttribute(Qt::WA_DeleteOnClose);
  dialog->setWindowTitle(tr("Password"));
  dialog->setLabelText(tr("%1\n%2").arg(QFileInfo(file).fileName(), reason));
  dialog->setTextEchoMode(QLineEdit::Password);
  connect(dialog, &QInputDialog::textValueSelected, this,
          [this, file](const QString& password) { emit passwordGiven(file, password); });
  dialog->open();
}

void MainWindow::askLanguages(const QStringList& languages, const QString& what) {
  auto* dialog = new QInputDialog(this);
  dialog->setAttribute(Qt::WA_DeleteOnClose);
  dialog->setWindowTitle(tr("Recognise text"));
  dialog->setLabelText(tr("%1\nLanguage of the text; several are joined by +:").arg(what));
  dialog->setComboBoxItems(languages);
  dialog->setComboBoxEditable(true);
  const auto english = languages.indexOf(QStringLiteral("eng"));
  dialog->setTextValue(languages.value(english < 0 ? 0 : english));
  connect(dialog, &QInputDialog::textValueSelected, this, &MainWindow::languagesChosen);
  dialog->open();
}

void MainWindow::openDocuments() {
  auto* dialog =
      new QFileDialog(this, tr("Open documents"), QString(),
                      tr("Documents (*.pdf *.epub *.html *.htm *.xhtml *.md *.markdown *.txt);;All files (*)"));
  dialog->setAttribute(Qt::WA_DeleteOnClose);
  dialog->setFileMode(QFileDialog::ExistingFiles);
  connect(dialog, &QFileDialog::filesSelected, this, &MainWindow::filesOpened);
  dialog->open();
}

void MainWindow::openFolder() {
  auto* dialog = new QFileDialog(this, tr("Open all documents of a folder"));
  dialog->setAttribute(Qt::WA_DeleteOnClose);
  dialog->setFileMode(QFileDialog::Directory);
  connect(dialog, &QFileDialog::filesSelected, this, &MainWindow::filesOpened);
  dialog->open();
}

void MainWindow::openModel() {
  auto* dialog = new QFileDialog(this, tr("Open model"), QString(), tr("Models (*.gguf *.safetensors);;All files (*)"));
  dialog->setAttribute(Qt::WA_DeleteOnClose);
  dialog->setFileMode(QFileDialog::ExistingFile);
  connect(dialog, &QFileDialog::fileSelected, this, &MainWindow::modelOpened);
  dialog->open();
}

void MainWindow::confirmDelete() {
  const QModelIndex index = libraryView_->currentIndex();
  if (!index.isValid()) return;
  auto* box = new QMessageBox(
      QMessageBox::Question, tr("Remove from library"),
      tr("Remove “%1” with its conversations and memory? The file itself is not touched.").arg(index.data().toString()),
      QMessageBox::Yes | QMessageBox::Cancel, this);
  box->setAttribute(Qt::WA_DeleteOnClose);
  const qint64 key = index.data(LibraryModel::KeyRole).toLongLong();
  connect(box, &QMessageBox::buttonClicked, this, [this, box, key](QAbstractButton* button) {
    if (box->standardButton(button) == QMessageBox::Yes) emit deleteRequested(key);
  });
  box->open();
}

void MainWindow::dragEnterEvent(QDragEnterEvent* event) {
  if (localFiles(event->mimeData()).isEmpty()) return;
  event->acceptProposedAction();
  overlay_->setGeometry(rect());
  overlay_->raise();
  overlay_->show();
}

void MainWindow::dragLeaveEvent(QDragLeaveEvent*) { overlay_->hide(); }

void MainWindow::dropEvent(QDropEvent* event) {
  overlay_->hide();
  const QStringList files = localFiles(event->mimeData());
  if (files.isEmpty()) return;
  event->acceptProposedAction();
  emit filesOpened(files);
}

void MainWindow::resizeEvent(QResizeEvent* event) {
  QMainWindow::resizeEvent(event);
  overlay_->setGeometry(rect());
}

}  // namespace longleaf::ui

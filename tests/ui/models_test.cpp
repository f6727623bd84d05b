#include <QAbstractItemModelTester>
#include <QSignalSpy>
#include <QTest>

#include "ui/library_model.h"
#include "ui/section_model.h"

using namespace longleaf::ui;

class ModelsTest : public QObject {
  Q_OBJECT

 private slots:
  void sectionsFormATree() {
    SectionModel model;
    QAbstractItemModelTester tester(&model, QAbstractItemModelTester::FailureReportingMode::QtTest);
    model.setSections(sections());
    QCOMPARE(model.rowCount(), 1);
    const QModelIndex book = model.index(0, 0);
    QCOMPARE(model.rowCount(book), 2);
    const QModelIndex second = model.index(1, 0, book);
    QCOMPARE(second.data().toString(), QStringLiteral("Two"));
    QCOMPARE(second.parent(), book);
    QCOMPARE(model.index(0, 0, second).data().toString(), QStringLiteral("page 8"));
    QCOMPARE(model.indexOf(3), second);
    model.setSections({});
    QCOMPARE(model.rowCount(), 0);
    model.setSections(sections());
  }

  void aRouteLightsAndDims() {
    SectionModel model;
    QAbstractItemModelTester tester(&model, QAbstractItemModelTester::FailureReportingMode::QtTest);
    model.setSections(sections());
    QSignalSpy changed(&model, &SectionModel::dataChanged);
    model.setRoute({{3, RouteMark::Kept}, {2, RouteMark::Pruned}});
    QCOMPARE(changed.count(), 2);
    QVERIFY(model.indexOf(3).data(Qt::BackgroundRole).isValid());
    QVERIFY(model.indexOf(2).data(Qt::ForegroundRole).isValid());
    QVERIFY(!model.indexOf(1).data(Qt::BackgroundRole).isValid());
    model.setRoute({});
    QVERIFY(!model.indexOf(3).data(Qt::BackgroundRole).isValid());
  }

  void anItemWithoutItsParentHangsAtTheTop() {
    SectionModel model;
    QAbstractItemModelTester tester(&model, QAbstractItemModelTester::FailureReportingMode::QtTest);
    model.setSections({{5, 99, false, QStringLiteral("Lost"), 0, 0}});
    QCOMPARE(model.rowCount(), 1);
  }

  void theLibraryIsAList() {
    LibraryModel model;
    QAbstractItemModelTester tester(&model, QAbstractItemModelTester::FailureReportingMode::QtTest);
    model.setDocuments({{7, QStringLiteral("A"), 3, 2, true, {}}, {9, QStringLiteral("B"), 1, 1, false, {}}});
    QCOMPARE(model.rowCount(), 2);
    QCOMPARE(model.indexOf(9).data().toString(), QStringLiteral("B"));
    QVERIFY(!model.indexOf(8).isValid());
  }

 private:
  static QList<SectionItem> sections() {
    return {{1, 0, false, QStringLiteral("Book"), 0, 9},
            {2, 1, false, QStringLiteral("One"), 0, 4},
            {3, 1, false, QStringLiteral("Two"), 5, 9},
            {4, 3, true, QStringLiteral("Two"), 7, 7}};
  }
};

QTEST_MAIN(ModelsTest)
#include "models_test.moc"

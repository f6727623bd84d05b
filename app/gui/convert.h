// Values of library and engine as values of the window.
#pragma once

#include "app/asking.h"
#include "engine/train/training_log.h"
#include "ingest/library/search.h"
#include "ui/rows.h"

namespace longleaf {

ui::LibraryItem toItem(const DocumentRow& document);
QList<ui::SectionItem> toItems(const std::vector<NodeRow>& nodes);
QList<ui::PageItem> toItems(const std::vector<PageRow>& pages);
ui::ChatItem toItem(const MessageRow& message, const QList<ui::PageItem>& pages);
ui::SearchItem toItem(const SearchHit& hit, const QList<ui::PageItem>& pages);
QHash<qint64, ui::RouteMark> toMarks(const Route& route);
ui::TrainingPoint toItem(const train::StepReport& step, const std::optional<train::MemoryScores>& scores);
// What a training was started with, to be remembered as text; what is no such text gives what one begins with.
QString toText(const ui::TrainingWish& wish);
ui::TrainingWish toWish(const QString& text);
// A reason as a whole sentence for people.
QString toSentence(const Status& status);

}  // namespace longleaf

"""Writes unicode_tables.inc: the ranges of Unicode letters (L), numbers (N) and white space, from Python's database.

    python3 make_unicode_tables.py > unicode_tables.inc
"""
import sys
import unicodedata

WHITE = set(map(chr, [9, 10, 11, 12, 13, 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F,
                      0x205F, 0x3000]))  # the property White_Space of PropList.txt


def ranges(wanted):
    found, start = [], None
    for code in range(0x110001):
        inside = code < 0x110000 and wanted(chr(code))
        if inside and start is None:
            start = code
        if not inside and start is not None:
            found.append((start, code - 1))
            start = None
    return found


print(f"// Unicode {unicodedata.unidata_version}; made by make_unicode_tables.py.")
for name, wanted in [("kLetters", lambda c: unicodedata.category(c)[0] == "L"),
                     ("kNumbers", lambda c: unicodedata.category(c)[0] == "N"),
                     ("kWhiteSpace", lambda c: c in WHITE)]:
    rows = ranges(wanted)
    print(f"constexpr CodeRange {name}[] = {{")
    for i in range(0, len(rows), 6):
        print("    " + " ".join(f"{{0x{a:x}, 0x{b:x}}}," for a, b in rows[i:i + 6]))
    print("};")

#include "tensor/json.h"

#include <clocale>
#include <cmath>
#include <limits>
#include <optional>

#include "tests/support/allocations.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/test.h"

using namespace retnet;
using namespace retnet::test;

namespace {

std::string parse_error(const std::string& text) {
  return error_message([&] { Json::parse(text, "config.json"); });
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }

TEST_CASE("memory that runs out while a value is copied leaves nothing half made", "[json][memory]") {
  if (!allocations_are_counted()) return;
  const std::string text =
      R"({"a":[1,"a string that is too long to be kept in place",[true,{"b":[null,2.5]}]],"c":{}})";
  const Json value = Json::parse(text, "text");
  int failures = 0;
  std::optional<Json> copy;
  for (std::int64_t count = 0; !copy; ++count) {
    const NoMoreAllocations from_now_on(count, INT64_MAX);
    // What the exception's path finds on the stack must not matter.
    volatile unsigned char stack[512];
    for (volatile unsigned char& byte : stack) byte = 0xee;
    try {
      copy.emplace(value);
    } catch (const std::bad_alloc&) {
      ++failures;
    }
  }
  CHECK(failures > 5);
  CHECK(copy->dump() == text);
  Json other = Json("before");
  other = *copy;
  CHECK(other.dump() == text);
  other = other.at("a");
  CHECK(other.dump() == copy->at("a").dump());
}

}  // namespace

TEST_CASE("JSON values are built, read and found", "[json]") {
  const Json json = Json::object({{"layers", 2},
                                  {"name", "tiny"},
                                  {"rate", 0.5},
                                  {"on", true},
                                  {"none", nullptr},
                                  {"gamma", Json::array({0.25, 1})},
                                  {"inner", Json::object({{"a", std::int64_t{-7}}})}});
  CHECK(json.at("layers").as_int() == 2);
  CHECK(json.at("layers").as_double() == 2.0);
  CHECK(json.at("name").as_string() == "tiny");
  CHECK(json.at("rate").as_double() == 0.5);
  CHECK(json.at("on").as_bool());
  CHECK(json.at("none").is_null());
  CHECK(json.at("gamma").elements().size() == 2);
  CHECK(json.at("inner").at("a").as_int() == -7);
  CHECK(json.find("absent") == nullptr);
  std::string order;
  for (const auto& [key, value] : json.items()) order += key + " ";
  CHECK(order == "layers name rate on none gamma inner ");
  CHECK(json.dump() ==
        R"({"layers":2,"name":"tiny","rate":0.5,"on":true,"none":null,"gamma":[0.25,1],"inner":{"a":-7}})");
  CHECK(json == Json::parse(json.dump(2), "dump"));
}

TEST_CASE("JSON values are changed in place", "[json]") {
  Json json;
  json.set("a", 1);
  json.set("b", Json::array());
  json.set("a", "one");
  CHECK(json.dump() == R"({"a":"one","b":[]})");
  Json list;
  list.push_back(1);
  list.push_back(nullptr);
  CHECK(list.dump() == "[1,null]");
  CHECK(error_message([&] { list.set("a", 1); }) == "json: required an object, got an array of 2");
  CHECK(error_message([&] { json.push_back(1); }) == "json: required an array, got an object of 2");
  CHECK(error_message([] {
          Json::object({{"a", 1}, {"b", 1}, {"a", 2}});
        }) == "json: the key \"a\" occurs twice");
  CHECK(error_message([] { Json(~std::uint64_t{0}); }) ==
        "json: 18446744073709551615 does not fit a signed 64-bit integer");
}

TEST_CASE("JSON accessors say what was required and what was given", "[json]") {
  const Json json = Json::parse(R"({"a": 4.0, "s": "x\ny\u00e9", "l": [1, 2], "o": {}, "b": false})", "c");
  CHECK(error_message([&] { json.at("a").as_int("c: a"); }) ==
        "c: a: required an integer of 64 bits, got 4.0");
  CHECK(error_message([&] { json.at("s").as_double("c: s"); }) ==
        R"(c: s: required a number, got the string "x\ny\xc3\xa9")");
  CHECK(error_message([&] { json.at("l").as_string("c: l"); }) ==
        "c: l: required a string, got an array of 2");
  CHECK(error_message([&] { json.at("o").as_bool("c: o"); }) ==
        "c: o: required true or false, got an object of 0");
  CHECK(error_message([&] { json.at("b").elements("c: b"); }) == "c: b: required an array, got false");
  CHECK(error_message([&] { json.at("b").at("x", "c: b"); }) == "c: b: required an object, got false");
  CHECK(error_message([&] { json.at("x", "c"); }) == "c: the key \"x\" is missing");
  const std::string message = error_message([] { Json(std::string(5000, '\n')).as_int("a\nb"); });
  CHECK(message.size() < 250);
  CHECK(message.find('\n') == message.npos);
}

TEST_CASE("JSON integers are exact and never silently doubles", "[json]") {
  const auto parse = [](const std::string& text) { return Json::parse(text, "number"); };
  CHECK(parse("9223372036854775807").as_int() == INT64_MAX);
  CHECK(parse("-9223372036854775808").as_int() == INT64_MIN);
  CHECK(parse("9007199254740993").as_int() == 9007199254740993);
  CHECK(parse("0").as_int() == 0);
  for (const char* text : {"9223372036854775808", "18446744073709551615", "18446744073709551616",
                           "-9223372036854775809", "1e3", "4.0", "-0", "1e-3"}) {
    CAPTURE(text);
    CHECK(parse(text).is_double());
    CHECK(contains(error_message([&] { parse(text).as_int(); }), "required an integer of 64 bits, got "));
  }
  CHECK(std::signbit(parse("-0").as_double()));
  CHECK(Json(INT64_MIN).dump() == "-9223372036854775808");
}

TEST_CASE("JSON doubles are written shortest and read back the same", "[json]") {
  CHECK(Json(0.1).dump() == "0.1");
  CHECK(Json(1.0).dump() == "1.0");
  CHECK(Json(-0.0).dump() == "-0.0");
  CHECK(Json(1e300).dump() == "1e+300");
  CHECK(Json(1e22).dump() == "1e+22");
  using limits = std::numeric_limits<double>;
  for (const double x : {0.1, 1.0 / 3, 1e22, 123456789.125, limits::max(), limits::min(),
                         limits::denorm_min(), -0.0, 0.30000000000000004, 9007199254740993.0}) {
    const Json back = Json::parse(Json(x).dump(), "number");
    CHECK(back.is_double());
    CHECK(back.as_double() == x);
    CHECK(std::signbit(back.as_double()) == std::signbit(x));
  }
  CHECK(contains(error_message([] { Json(std::nan("")).dump(); }), "JSON has finite numbers only"));
  CHECK(contains(error_message([] { Json(limits::infinity()).dump(); }), "JSON has finite numbers only"));
}

TEST_CASE("JSON numbers do not depend on the locale", "[json]") {
  const std::string before = std::setlocale(LC_NUMERIC, nullptr);
  for (const char* name : {"de_DE.UTF-8", "fr_FR.UTF-8"})
    if (std::setlocale(LC_NUMERIC, name) != nullptr) break;
  CHECK(Json::parse("[1.5]", "x").dump() == "[1.5]");
  std::setlocale(LC_NUMERIC, before.c_str());
}

TEST_CASE("JSON strings keep every character", "[json]") {
  std::string text = "quote \" backslash \\ slash / del \x7f γ 😀 ";
  for (char c = 0; c < 32; ++c) text += c;
  CHECK(Json::parse(Json(text).dump(), "x").as_string() == text);
  CHECK(Json("\x01\n\"").dump() == R"("\u0001\n\"")");
  CHECK(Json::parse(R"("\u03b3\ud83d\ude00\u0000")", "x").as_string() == std::string("γ😀\0", 7));
  CHECK(contains(error_message([] { Json("\xff").dump(); }), R"(cannot write "\xff": not UTF-8)"));
}

TEST_CASE("what is not JSON is refused in one line that says where", "[json]") {
  CHECK(parse_error("{\n  \"a\": 1,\n  \"b\" 2\n}") ==
        "config.json: line 3, column 7: syntax error while parsing object separator - unexpected number "
        "literal, after "
        R"("{\n  \"a\": 1,\n  \"b\" 2")");
  // What is wrong with an empty text is said in other words by every version of the parser that is used.
  const std::string empty = parse_error("");
  CHECK(empty.rfind("config.json: line 1, column 1: ", 0) == 0);
  CHECK(empty.substr(empty.rfind(", after ")) == ", after \"\"");
  const char* const broken[] = {" ",
                                "{",
                                "[",
                                "[1",
                                "[1,",
                                "[1,]",
                                "{\"a\"}",
                                "{\"a\":}",
                                "{\"a\":1,}",
                                "{a:1}",
                                "{'a':1}",
                                "[1 2]",
                                "1 2",
                                "{} {}",
                                "{}x",
                                "tru",
                                "TRUE",
                                "nul",
                                "NaN",
                                "nan",
                                "Infinity",
                                "-Infinity",
                                "-",
                                "+1",
                                "01",
                                "1.",
                                ".5",
                                "1e",
                                "0x10",
                                "1e999",
                                "-1e999",
                                "\"abc",
                                "\"\n\"",
                                "\"\\x\"",
                                "\"\\u12\"",
                                "\"\\ud800\"",
                                "\"\\udc00\"",
                                "\"\\ud800\\u0041\"",
                                "\"\xff\"",
                                "\"\xc0\xaf\"",
                                "\"\xed\xa0\x80\"",
                                "\"\xf4\x90\x80\x80\"",
                                "\"\xe2\x82\"",
                                "\xEF\xBB\xBF{}",
                                "// x\n1",
                                "/* x */ 1",
                                "1 // x",
                                "# x",
                                "undefined"};
  for (const char* text : broken) {
    const std::string message = parse_error(text);
    CAPTURE(text, message);
    CHECK(message.rfind("config.json: line ", 0) == 0);
    CHECK(message.find('\n') == message.npos);
    CHECK(message.size() < 300);
  }
  using namespace std::string_literals;
  CHECK(contains(parse_error("{}\0"s), "a NUL byte"));
  CHECK(contains(parse_error("{}\0x"s), "a NUL byte"));
  CHECK(parse_error("{\"a\": 1, \"b\": {\"c\": 1, \"c\": 2}}") == "config.json: the key \"c\" occurs twice");
  CHECK(parse_error("\"" + std::string(100'000, 'x')).size() < 300);
}

TEST_CASE("deep and wide JSON is refused beyond the limits", "[json]") {
  const auto nested = [](int depth) {
    return std::string(static_cast<std::size_t>(depth), '[') +
           std::string(static_cast<std::size_t>(depth), ']');
  };
  CHECK(parse_error(nested(64)) == "no error");
  CHECK(parse_error(nested(65)) == "config.json: nested deeper than 64 levels");
  CHECK(parse_error(std::string(1'000'000, '[')) == "config.json: nested deeper than 64 levels");
  const auto limited = [](const char* text) {
    return error_message([&] { Json::parse(text, "x", {2, 4}); });
  };
  CHECK(limited("[1,[2]]") == "no error");
  CHECK(limited("[1,2,3,4]") == "x: holds more than 4 values");
  CHECK(limited("[[[]]]") == "x: nested deeper than 2 levels");
}

TEST_CASE("JSON is indented with lists of numbers in one line", "[json]") {
  const Json json = Json::object({{"a", Json::array({1, 2})},
                                  {"b", Json::array({Json::object({{"c", 1}})})},
                                  {"d", Json::object()},
                                  {"e", Json::array()}});
  CHECK(json.dump(2) ==
        "{\n  \"a\": [1, 2],\n  \"b\": [\n    {\n      \"c\": 1\n    }\n  ],\n  \"d\": {},\n  \"e\": []\n}");
  const TemporaryFolder folder;
  write_json(folder / "x.json", json);
  CHECK(read_json(folder / "x.json") == json);
  CHECK(folder.count() == 1);
  CHECK(contains(error_message([&] { read_json(folder / "y.json"); }),
                 "y.json: cannot read: No such file or directory"));
}

TEST_CASE("equal JSON has the same types, values and order", "[json]") {
  const auto parse = [](const char* text) { return Json::parse(text, "x"); };
  CHECK(parse("{\"a\":[1,\"x\",null]}") == parse(" { \"a\" : [ 1 , \"x\" , null ] } "));
  CHECK_FALSE(parse("1") == parse("1.0"));
  CHECK_FALSE(parse("{\"a\":1,\"b\":2}") == parse("{\"b\":2,\"a\":1}"));
}

import unittest

import words


class WordsTest(unittest.TestCase):
    def test_words_are_counted(self):
        self.assertEqual(words.count(""), 0)
        self.assertEqual(words.count(" one\ttwo\n three "), 3)


if __name__ == "__main__":
    unittest.main()

"""What lies in the `src` folder of a Bento beside our packages: which version it serves, and that version's bundle."""

RELEASE, BUNDLE = "release.json", "bundle"

"""Names in the `src` folder of a Bento: the file that names the version, and the folder with the version's bundle."""

RELEASE, BUNDLE = "release.json", "bundle"

"""Orthanc in front, the application behind: every eligible CT study is analysed once, by itself."""

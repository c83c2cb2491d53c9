"""Attribution of the distortion answer to pixels and to stages, scored against where the distortion really is."""

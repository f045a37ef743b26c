"""A thorax with known millilitres, and the DICOM study of it."""

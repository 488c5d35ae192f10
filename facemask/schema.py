"""Names of columns and classes that several tables and packages share."""

WITHOUT, WITH = "without_mask", "with_mask"
CLASSES = (WITHOUT, WITH)  # by label: 0 and 1

BOX = ["xmin", "ymin", "xmax", "ymax"]  # of a face in its image, inclusive px
RECTANGLE = ["x0", "y0", "x1", "y1"]  # of a crop in its image, half-open px
CROP_BOX = ["box_x0", "box_y0", "box_x1", "box_y1"]  # of a face in its crop, half-open px
TRUE = ["true_x0", "true_y0", "true_x1", "true_y1"]  # divided by the crop's sides
PREDICTED = ["pred_x0", "pred_y0", "pred_x1", "pred_y1"]  # likewise

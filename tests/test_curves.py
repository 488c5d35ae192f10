import pandas as pd

from facemask.curves import long_table


def test_every_logged_value_stands_in_the_row_of_its_experiment_epoch_and_split():
    logged = ["loss", "label_loss", "box_loss", "label_accuracy", "box_iou"]
    histories = {}
    for number, name in enumerate(["b", "a"]):
        columns = [*logged, *(f"val_{column}" for column in logged), "learning_rate", "seconds"]
        rows = {
            column: [100 * number + 10 * place + epoch for epoch in range(1 + number)]
            for place, column in enumerate(columns)
        }
        histories[name] = pd.DataFrame(rows)
        histories[name].insert(0, "epoch", range(1, 2 + number))
    table = long_table(histories).set_index(["experiment", "split", "epoch"])
    assert len(table) == 2 + 4
    assert list(table.index.get_level_values("experiment").unique()) == ["b", "a"]
    for name, history in histories.items():
        for row in history.to_dict("records"):
            for split, prefix in (("train", ""), ("val", "val_")):
                found = table.loc[(name, split, row["epoch"])]
                for column, told in zip(
                    logged, ["loss", "label_loss", "box_loss", "accuracy", "iou"], strict=True
                ):
                    assert found[told] == row[prefix + column]
                assert found["learning_rate"] == row["learning_rate"]
    assert "seconds" not in table

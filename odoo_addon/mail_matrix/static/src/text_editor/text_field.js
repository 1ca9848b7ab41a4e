import {MatrixTextEditor} from "@mail_matrix/text_editor/text_editor";
import {TextField, textField} from "@web/views/fields/text/text_field";
import {registry} from "@web/core/registry";
import {useService} from "@web/core/utils/hooks";

/** A text of an event, with a button that opens its editor. */
export class MatrixTextField extends TextField {
    static template = "mail_matrix.TextField";

    setup() {
        super.setup();
        this.dialog = useService("dialog");
    }

    get label() {
        return this.props.record.fields[this.props.name].string;
    }

    openEditor() {
        const {record, name} = this.props;
        this.dialog.add(MatrixTextEditor, {
            title: this.label,
            resModel: record.resModel,
            resId: record.resId,
            name,
            // What is typed is in the record when the button takes the focus.
            source: record.data[name] || "",
            onApply: (source) => record.update({[name]: source}),
        });
    }
}

registry.category("fields").add("matrix_text", {
    ...textField,
    component: MatrixTextField,
});

import {MatrixTextEditor} from "@mail_matrix/text_editor/text_editor";
import {TextField, textField} from "@web/views/fields/text/text_field";
import {registry} from "@web/core/registry";
import {useService} from "@web/core/utils/hooks";

/** A text of an event, with a button that opens its editor. */
export class MatrixTextField extends TextField {
    static template = "mail_matrix.TextField";
    static props = {...TextField.props, modelField: {type: String, optional: true}};

    setup() {
        super.setup();
        this.dialog = useService("dialog");
    }

    get label() {
        return this.props.record.fields[this.props.name].string;
    }

    /** The model that the text is about, which may not be saved yet. */
    get modelId() {
        const model = this.props.record.data[this.props.modelField];
        // Odoo 18 has pairs, Odoo 19 objects.
        return (model && (model.id ?? model[0])) || false;
    }

    openEditor() {
        const {record, name} = this.props;
        this.dialog.add(MatrixTextEditor, {
            title: this.label,
            resModel: record.resModel,
            resId: record.resId,
            name,
            modelId: this.modelId,
            // What is typed is in the record when the button takes the focus.
            source: record.data[name] || "",
            onApply: (source) => record.update({[name]: source}),
        });
    }
}

registry.category("fields").add("matrix_text", {
    ...textField,
    component: MatrixTextField,
    extractProps: (fieldInfo, dynamicInfo) => ({
        ...textField.extractProps(fieldInfo, dynamicInfo),
        modelField: fieldInfo.options.model_field,
    }),
});

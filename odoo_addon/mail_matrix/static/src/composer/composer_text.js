import {TextField, textField} from "@web/views/fields/text/text_field";
import {registry} from "@web/core/registry";
import {useHotkey} from "@web/core/hotkeys/hotkey_hook";

/** A text that Ctrl+Enter sends: it presses the button that `options` name. */
export class MatrixComposerText extends TextField {
    static props = {...TextField.props, sendButton: {type: String}};

    setup() {
        super.setup();
        useHotkey("control+enter", () => this.send(), {
            area: () => this.textareaRef.el,
            bypassEditableProtection: true,
        });
    }

    send() {
        const form = this.textareaRef.el.closest(".modal, .o_form_view");
        form.querySelector(`button[name=${this.props.sendButton}]`)?.click();
    }
}

export const matrixComposerText = {
    ...textField,
    component: MatrixComposerText,
    extractProps: (field, dynamicInfo) => ({
        ...textField.extractProps(field, dynamicInfo),
        sendButton: field.options.send_button,
    }),
};

registry.category("fields").add("matrix_composer_text", matrixComposerText);
